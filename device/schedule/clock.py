"""Two clocks read together: the wall's, which people and time servers move, and the uptime, which nobody does.

Hours of the day come from the wall clock. Lengths come from the uptime, which goes on while the device
sleeps. Where both are known of two moments, a jump of the wall clock shows as their difference.
"""

import time
from pathlib import Path
from typing import NamedTuple

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Moment(NamedTuple):
    """`wall` seconds since 1970, `uptime` seconds since the boot named `boot` ('' = not known which)."""

    wall: float
    uptime: float
    boot: str

    def same_boot(self, other: "Moment") -> bool:
        return bool(self.boot) and self.boot == other.boot

    def since(self, earlier: "Moment") -> float:
        """Seconds from `earlier`: by uptime within one boot, by the wall clock over a restart."""
        return self.uptime - earlier.uptime if self.same_boot(earlier) else self.wall - earlier.wall

    def jump_since(self, earlier: "Moment") -> float:
        """How far the wall clock was moved since `earlier`, in seconds; 0 over a restart, where nobody can tell."""
        return (self.wall - earlier.wall) - (self.uptime - earlier.uptime) if self.same_boot(earlier) else 0.0


class SystemClock:
    """The device's own clocks."""

    def __init__(self):
        try:
            self.boot = BOOT_ID.read_text().strip()
        except OSError:
            self.boot = ""

    def now(self) -> Moment:
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
        return Moment(time.time(), uptime, self.boot)


class FakeClock:
    """Moves when told to: for simulations and tests."""

    def __init__(self, wall: float, uptime: float = 1000.0, boot: str = "boot-1"):
        self.moment = Moment(wall, uptime, boot)

    def now(self) -> Moment:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment = self.moment._replace(wall=self.moment.wall + seconds, uptime=self.moment.uptime + seconds)

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.moment = self.moment._replace(wall=self.moment.wall + seconds)

    def reboot(self) -> None:
        self.moment = self.moment._replace(uptime=0.0, boot=self.moment.boot + "'")
