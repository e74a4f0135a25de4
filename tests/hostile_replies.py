"""Direct replies that try to run something: each would create a file named `canary` where it is run."""

import random

TOUCH = "touch canary"
PARTS = (
    f"$({TOUCH})",
    f"`{TOUCH}`",
    f'"; {TOUCH}; "',
    f'\\"; {TOUCH}; \\"',
    f'\\\\"; {TOUCH} #',
    f"'; {TOUCH}; '",
    f"\n{TOUCH}\n",
    f'"\n{TOUCH}\n"',
    f"\nEOF\n{TOUCH}\n",
    f"\nEND_\n{TOUCH}\n",
    f"\nEND_{'0' * 32}\n{TOUCH}\n",
    f"| {TOUCH}",
    f"& {TOUCH} &",
    f"&& {TOUCH}",
    f"<({TOUCH})",
    ">canary",
    "\n>canary\n",
    f"${{x:-$({TOUCH})}}",
    f"$((x[$({TOUCH})]))",
    f"\r\n{TOUCH}\r\n",
    f"\\\n{TOUCH}\n",
    f"<<'END_'\n{TOUCH}\n",
    "$REPLY",
    '"$REPLY"',
    "\\",
    '"',
    "'",
    "\\\\",
    '\\"',
    "$",
    "`",
    "\n",
    "\t",
    "\r",
    "\x1b[2J",
    "\x7f",
    "é",
    "日本",
    "🙂",
    "\u202e",
    "%s%n",
    "-n",
    "--",
    "!!",
    "\nE\u00e9",
    '\n"\u00e9',
    "\n>\u00e9",
    '\n"',
    "~",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "#",
    ";",
    "bread, please",
)


def hostile_replies(count: int, seed: int = 0):
    """Every part alone, then random strings of parts and characters; the same for the same seed."""
    yield from PARTS[:count]
    chance = random.Random(seed)
    for number in range(count - len(PARTS)):
        pieces = [_piece(chance) for _ in range(chance.randint(1, 8))]
        text = "".join(pieces)
        yield text * chance.randint(50, 400) if number % 500 == 499 else text


def _piece(chance: random.Random) -> str:
    if chance.random() < 0.75:
        return chance.choice(PARTS)
    plain, accented = (lambda: chance.randint(1, 126)), (lambda: chance.randint(0xA0, 0x2FF))
    return "".join(chr(chance.choice((plain, accented))()) for _ in range(chance.randint(1, 12)))
