"""Times as exports write them, to seconds since 1970; None for what is no time."""

import math
import re
from datetime import datetime, timezone
from typing import Any

FIRST, LAST = 631152000.0, 4102444800.0  # 1990 and 2100: anything else is a fault of the export
MILLISECONDS = 1e11  # numbers above are no seconds
# SillyTavern: 2025-07-18@12h00m01s, and with milliseconds behind; July 18, 2025 12:00pm.
HUMANIZED = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2}) ?@ ?(\d{1,2})h ?(\d{1,2})m ?(\d{1,2})s")
ENGLISH = "%B %d, %Y %I:%M%p"


def moment(value: Any) -> float | None:
    """Seconds since 1970 of a number (seconds or milliseconds) or a text (ISO 8601, or SillyTavern's own)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = _of_text(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError, OSError):
        return None
    if seconds > MILLISECONDS:
        seconds /= 1000
    return seconds if math.isfinite(seconds) and FIRST <= seconds <= LAST else None


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float | None:
    """That of a local date and time; None for one that no calendar has."""
    try:
        return moment(datetime(year, month, day, hour, minute, second).timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def _of_text(text: str) -> float:
    text = text.strip()[:64]
    if text.isdecimal():
        return float(text)
    if found := HUMANIZED.match(text):
        return datetime(*map(int, found.groups())).timestamp()  # type: ignore[arg-type]
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d+)?Z$", "+00:00", text)).timestamp()
    except ValueError:
        return datetime.strptime(text, ENGLISH).timestamp()


def utc(seconds: float) -> str:
    """The day, for a person."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")
