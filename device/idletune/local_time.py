"""The wall clock as the user reads it, in the zone that holds now.

A process reads the zone once, at its start; a phone crosses borders while `serve` or `watch` runs. So the zone is read
again at each look at the clock. Everything that depends on the hour or the calendar day asks here.
"""

import time
from datetime import datetime


def local_time(seconds: float | None = None) -> datetime:
    """The local time at `seconds` since 1970 (None: now), without a zone of its own."""
    if hasattr(time, "tzset"):
        time.tzset()
    return datetime.fromtimestamp(time.time() if seconds is None else seconds)


def is_hour_between(hour: int, start: int, end: int) -> bool:
    """Whether `hour` lies from `start` up to `end`, counted around the clock; equal hours: never."""
    return (hour - start) % 24 < (end - start) % 24
