"""What is known of the device right now: power, heat, rest, room. What is not known is None.

A field that is missing, of another type or out of its range is unknown, never a guess: whoever decides by
these fields can rely on what is there, and unknown opens no window.
"""

import json
from dataclasses import dataclass, fields
from typing import Any

LONGEST_JSON = 64 * 1024  # characters; a state is a few hundred
MB = 1e6


@dataclass(frozen=True)
class DeviceState:
    """Thermal status as Android counts it (0 none, 3 severe, 6 shutdown); headroom 1.0 is severe.

    `idle` is True when nobody uses the device, False when its screen is on. `do_not_ask` says that the user is not
    to be asked anything now: do-not-disturb, a meeting, a wearable that tells of stress.
    """

    plugged: bool | None = None
    percentage: float | None = None
    temperature_c: float | None = None  # of the battery
    thermal_status: int | None = None
    thermal_headroom: float | None = None
    idle: bool | None = None
    free_memory_mb: float | None = None
    free_disk_mb: float | None = None
    do_not_ask: bool | None = None


FIELDS = tuple(spec.name for spec in fields(DeviceState))
RANGES: dict[str, tuple[float, float]] = {
    "percentage": (0, 100),
    "temperature_c": (-30, 90),
    "thermal_status": (0, 6),
    "thermal_headroom": (0, 20),
    "free_memory_mb": (0, 1e7),
    "free_disk_mb": (0, 1e9),
}
WHOLE = ("thermal_status",)
# Exactly these: the program also says PLUGGED_-1 for "I do not know".
TERMUX_PLUGGED = {
    "UNPLUGGED": False,
    "PLUGGED_AC": True,
    "PLUGGED_USB": True,
    "PLUGGED_WIRELESS": True,
    "PLUGGED_DOCK": True,
}
SEVERE = 3


def validated(name: str, value: Any) -> Any:
    """The value of a field if it has the right type and lies in its range, else None."""
    if name not in RANGES:
        return value if type(value) is bool else None
    if type(value) not in ((int,) if name in WHOLE else (int, float)):
        return None
    least, most = RANGES[name]
    return value if least <= value <= most else None  # NaN is in no range


def parse_state(given: str | bytes | dict) -> DeviceState:
    """A state from JSON with the field names of DeviceState, as a host app reports it."""
    read = _object(given)
    return DeviceState(**{name: validated(name, read.get(name)) for name in FIELDS})


def parse_termux(text: str | bytes) -> DeviceState:
    """The battery part of a state from what `termux-battery-status` prints.

    Whether it is plugged goes by `plugged` alone: a charge limiter reports NOT_CHARGING on the charger.
    """
    read = _object(text)
    if read.get("present") is False:
        return DeviceState()
    plugged = read.get("plugged")
    return DeviceState(
        plugged=TERMUX_PLUGGED.get(plugged) if isinstance(plugged, str) else None,
        percentage=validated("percentage", read.get("percentage")),
        temperature_c=validated("temperature_c", read.get("temperature")),
        thermal_status=SEVERE if read.get("health") == "OVERHEAT" else None,
    )


def _object(given: str | bytes | dict) -> dict:
    """A JSON object; {} for whatever is none, is too long, too deep, or says something twice."""
    if isinstance(given, dict):
        return given
    if not isinstance(given, (str, bytes)) or len(given) > LONGEST_JSON:
        return {}
    try:
        read = json.loads(given, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _without_repetition(pairs: list[tuple[str, object]]) -> dict:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a field is given twice")
    return dict(pairs)
