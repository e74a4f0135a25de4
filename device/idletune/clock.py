"""Two clocks read together: the wall's, which people and time servers move, and the uptime, which nobody does.

Hours of the day come from the wall clock. Lengths come from the uptime, which goes on while the device
sleeps. Where both are known of two moments, a jump of the wall clock shows as their difference. Over a restart nobody
can tell how long the device was off: the wall clock is believed there for half a day at most, so that a clock
that was set meanwhile frees nothing, and an hour before one that was seen already is no hour at all.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DAY = 86_400.0
LONGEST_OFF = DAY / 2  # a night; what the wall clock says beyond that of a restart is not believed
JUMP_SECONDS = 120.0  # a wall clock that moved further than this was set
EARLIEST = 1_672_531_200.0  # 2023: before this program, so a clock that shows it has not been set since its start
GIVEN = "given"  # the boot of clocks that are made up: their uptime is their wall clock


class Moment(NamedTuple):
    """`wall` seconds since 1970, `uptime` seconds since the boot named `boot` ('' = not known which)."""

    wall: float
    uptime: float
    boot: str

    def same_boot(self, other: "Moment") -> bool:
        return bool(self.boot) and self.boot == other.boot

    def since(self, earlier: "Moment") -> float:
        """Seconds from `earlier`: by uptime within one boot.

        Over a restart by the wall clock, but no less than this boot has lasted, and no more than LONGEST_OFF beyond.
        """
        if self.same_boot(earlier):
            return self.uptime - earlier.uptime
        least = self.uptime
        if not (self.boot and earlier.boot) and self.uptime >= earlier.uptime:  # perhaps the same one
            least -= earlier.uptime
        return min(max(self.wall - earlier.wall, least), least + LONGEST_OFF)

    def doubt(self, seen: Iterable["Moment"]) -> str:
        """Why the wall clock's hour cannot be right, by moments that were `seen` before, newest first; or ''.

        A boot of a day and more is believed: it is the earlier clock that was wrong.
        """
        if self.boot == GIVEN:
            return ""
        if self.wall < EARLIEST:
            return f"the clock shows {time.strftime('%Y', time.gmtime(self.wall))}; it has not been set yet"
        before = next((moment for moment in seen if not self.same_boot(moment)), None)
        if before and self.uptime < DAY and self.wall < before.wall - JUMP_SECONDS:
            return "the clock shows an earlier time than before the restart"
        return ""

    def jump_since(self, earlier: "Moment") -> float:
        """How far the wall clock was moved since `earlier`, in seconds; 0 over a restart, where nobody can tell."""
        return (self.wall - earlier.wall) - (self.uptime - earlier.uptime) if self.same_boot(earlier) else 0.0


def ages(now: Moment, moments: Iterable[Moment]) -> Iterator[float]:
    """Seconds since each of `moments`, newest first: from one to the next, so that each restart counts for itself."""
    age, later = 0.0, now
    for moment in moments:
        age += later.since(moment)
        later = moment
        yield age


class Clock(Protocol):
    """Both clocks, read at one moment."""

    def now(self) -> Moment: ...


class SystemClock:
    """The device's own clocks."""

    def __init__(self) -> None:
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


def moments_of(clock: Callable[[], float] | SystemClock | FakeClock) -> Callable[[], Moment]:
    """Both clocks of one that tells the wall clock's time alone; of the system's own, its uptime."""
    if isinstance(clock, (SystemClock, FakeClock)):
        return clock.now
    return SystemClock().now if clock is time.time else lambda: given(clock())


def given(wall: float) -> Moment:
    """A moment of a made-up clock: of replays and tests."""
    return Moment(wall, wall, GIVEN)
