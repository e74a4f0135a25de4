"""Device states as JSON, most of them wrong, each with an independent opinion on whether it may open a window.

The opinion is formed on the values before they are written, by the plain conditions of the default settings.
"""

import json
import random

ABSURD = (
    None,
    True,
    False,
    "",
    "yes",
    "80",
    -1,
    -1e9,
    101,
    10**30,
    -214748364.8,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    [],
    [80],
    {},
    {"value": 80},
    "NaN",
    0.1 + 0.2,
    -0.0,
    "PLUGGED_-1",
    "PLUGGED_AC ",
    "plugged_ac",
    3,
    255,
)
GOOD = {
    "plugged": (True,),
    "percentage": (40, 55.5, 80, 100),
    "temperature_c": (-5, 0, 25.5, 38, 38.0),
    "thermal_status": (0, 1, 2),
    "thermal_headroom": (0, 0.4, 0.99),
    "idle": (True,),
    "free_memory_mb": (400, 2000.5, 9000),
    "free_disk_mb": (200, 5000),
}
BAD = {
    "plugged": (False,),
    "percentage": (0, 39, 39.99),
    "temperature_c": (38.1, 45, 89),
    "thermal_status": (3, 4, 6),
    "thermal_headroom": (1.0, 1.5),
    "idle": (False,),
    "free_memory_mb": (0, 399),
    "free_disk_mb": (0, 199.9),
}
NEEDED = ("plugged", "percentage", "temperature_c", "free_memory_mb", "free_disk_mb")
TERMUX_GOOD = {"plugged": ("PLUGGED_AC", "PLUGGED_USB", "PLUGGED_WIRELESS", "PLUGGED_DOCK")}
TERMUX_BAD = {"plugged": ("UNPLUGGED", "PLUGGED_-1", "PLUGGED_3", "PLUGGED")}
TERMUX_NAMES = {"plugged": "plugged", "percentage": "percentage", "temperature_c": "temperature"}


def fuzzed_states(count: int, seed: int = 0):
    """(text, from Termux?, may open?) triples; the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        termux = chance.random() < 0.4
        fields = _fields(chance, termux)
        names = TERMUX_NAMES if termux else {name: name for name in GOOD}
        text = json.dumps({names[name]: value for name, value in fields.items()})
        may_open = opinion(fields, termux)
        if chance.random() < 0.25:
            text = _damaged(text, chance)
            may_open = _opinion_of_text(text, termux, names)
        yield text, termux, may_open


def opinion(fields: dict, termux: bool) -> bool:
    """By the default settings, with nothing against it but the state; Termux's memory and disk are plenty."""

    def number(name, least, most):
        value = fields.get(name)
        return type(value) in (int, float) and value == value and least <= value <= most

    plugged = fields.get("plugged")
    power = plugged in TERMUX_GOOD["plugged"] if termux and isinstance(plugged, str) else plugged is True and not termux
    battery = number("percentage", 40, 100) and number("temperature_c", -30, 38)
    if termux:
        return power and battery
    room = number("free_memory_mb", 400, 1e7) and number("free_disk_mb", 200, 1e9)
    status = fields.get("thermal_status")
    hot = type(status) is int and 3 <= status <= 6 or number("thermal_headroom", 1, 20)
    return power and battery and room and not hot and fields.get("idle") is not False


def _opinion_of_text(text: str, termux: bool, names: dict[str, str]) -> bool:
    """Damage may leave JSON behind; a field that is there twice counts for nothing."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(read, dict) or any(text.count(f'"{name}"') > 1 for name in read):
        return False
    return opinion({name: read[written] for name, written in names.items() if written in read}, termux)


def _fields(chance: random.Random, termux: bool) -> dict:
    wrong = chance.choice((0, 0, 0.1, 0.3, 0.8))  # some nearly right, some not at all
    fields = {}
    for name in TERMUX_NAMES if termux else GOOD:
        good = (TERMUX_GOOD if termux and name in TERMUX_GOOD else GOOD)[name]
        bad = (TERMUX_BAD if termux and name in TERMUX_BAD else BAD)[name]
        roll = chance.random()
        if roll >= wrong:
            fields[name] = chance.choice(good)
        elif roll < wrong * 0.8:  # else missing
            fields[name] = chance.choice(chance.choice((bad, ABSURD)))
    return fields


def _damaged(text: str, chance: random.Random) -> str:
    """Cut, flipped, doubled, nested or replaced altogether."""
    place = chance.randrange(len(text) + 1)
    return chance.choice(
        (
            text[:place],
            text[:place] + chr(chance.randrange(1, 0x2FF)) + text[place:],
            text + text,
            text[place:],
            "[" * chance.randrange(1, 5000) + text,
            text.replace("{", '{"plugged": false, ', 1),
            text.replace(":", ";"),
            text.upper(),
            "\ufeff" + text,
            text[:place] + "\0" + text[place:],
            json.dumps(text),
            f"[{text}]",
            '{"percentage": ' + "9" * chance.randrange(1, 9000) + "}",
        )
    )
