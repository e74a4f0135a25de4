"""When the device may learn: the policy that opens and closes the window.

- Every check can only close it. What a check needs to know and does not keeps it shut, and so does a wall
  clock that has just been moved.
- After it closed for heat or charge it opens again only some way inside the limit, so that it does not flap.
- A slice's length is measured by uptime; nobody's clock can stretch it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from ..clock import DAY, JUMP_SECONDS, Moment, ages
from ..errors import UsageError
from ..local_time import is_hour_between, local_time
from ..settings import LEAST_FOUND_MB, Settings
from .device_state import FIELDS, DeviceState

STOP_SECONDS = 15.0  # of a slice that are left for the last micro-step and the checkpoint
COOLER_C, FULLER = 2.0, 3.0  # how far inside the limit it opens again
SETTLED_SECONDS = 600.0  # how long a clock that was set has to hold
SEVERE_HEADROOM = 1.0


class Code(str, Enum):
    """Why a window is shut, or that it is open. Clients and events see the values."""

    CLOCK = "clock"
    HOURS = "hours"
    UNKNOWN = "unknown"
    PLUGGED = "plugged"
    PERCENTAGE = "percentage"
    TEMPERATURE = "temperature"
    THERMAL = "thermal"
    IDLE = "idle"
    MEMORY = "memory"
    DISK = "disk"
    LENGTH = "length"
    SLICES = "slices"
    REST = "rest"
    OPEN = "open"
    NOTHING = "nothing"  # to learn
    RUNNING = "running"  # a slice
    INTERRUPTED = "interrupted"  # by a person, a client or a signal

    __str__ = str.__str__


CHECKS = (  # in this order; the first that fails is the reason
    Code.CLOCK,
    Code.HOURS,
    Code.UNKNOWN,
    Code.PLUGGED,
    Code.PERCENTAGE,
    Code.TEMPERATURE,
    Code.THERMAL,
    Code.IDLE,
    Code.MEMORY,
    Code.DISK,
    Code.LENGTH,
    Code.SLICES,
    Code.REST,
)


# What each condition needs to know of the device; where one of `window_needs` is not known, nor is the condition.
_KNOWN_BY = {
    Code.PLUGGED: ("plugged",),
    Code.PERCENTAGE: ("percentage",),
    Code.TEMPERATURE: ("temperature_c",),
    Code.THERMAL: ("thermal_status", "thermal_headroom"),
    Code.IDLE: ("idle",),
    Code.MEMORY: ("free_memory_mb",),
    Code.DISK: ("free_disk_mb",),
}


@dataclass(frozen=True)
class Condition:
    """One condition of learning: met, not met (with the reason), or None where it cannot be told."""

    code: Code
    met: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Decision:
    """Open or not, `code` (the check that closed it, OPEN, or the scheduler's own) and the reason for people."""

    open: bool
    code: Code
    reason: str


@dataclass(frozen=True)
class Slice:
    """A stretch of learning; `end` is None for the running one, or one that was killed."""

    start: Moment
    end: Moment | None = None


@dataclass
class History:
    """Earlier slices (newest last), the last decision's code ("" before the first), and what the clocks showed."""

    code: str = ""
    slices: Sequence[Slice] = ()
    running: Slice | None = None
    seen: Moment | None = None  # a moment both clocks were read at, to notice a jump since
    jumped: Moment | None = None  # when a jump was noticed last
    moments: Sequence[Moment] = ()  # all that was recorded, newest last; the slices' are among them

    def newest_first(self) -> list[Moment]:
        """What was recorded, to count back from now by."""
        own = [moment for past in self.slices for moment in (past.start, past.end) if moment]
        return [*reversed(self.moments or [*own, *([self.seen] if self.seen else [])])]

    def ages(self, now: Moment) -> dict[Moment, float]:
        """Seconds since each recorded moment."""
        newest_first = self.newest_first()
        return dict(zip(newest_first, ages(now, newest_first)))


@dataclass(frozen=True)
class WindowPolicy:
    """Decides by the settings that begin with `window_` and `slice`; raises UsageError for an unknown field."""

    settings: Settings
    needs: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        needs = tuple(name.strip() for name in self.settings.window_needs.split(",") if name.strip())
        for name in needs:
            if name not in FIELDS:
                raise UsageError(f"setting window_needs names {name!r}; choose from {', '.join(FIELDS)}")
        object.__setattr__(self, "needs", needs)

    def decide(self, state: DeviceState, now: Moment, history: History) -> Decision:
        """Whether to learn at this moment, with the first reason against it."""
        for code in CHECKS:
            reason = getattr(self, f"_{code.value}")(state, now, history)
            if reason:
                return Decision(False, code, reason)
        return Decision(True, Code.OPEN, self._described(state))

    def conditions(self, state: DeviceState, now: Moment, history: History) -> list[Condition]:
        """Each condition by itself, in the order of the checks; what is neither known nor needed is left out."""
        codes = [code for code in CHECKS if code not in (Code.UNKNOWN, Code.LENGTH)]
        return [found for code in codes if (found := self._condition(code, state, now, history))]

    def _condition(self, code: Code, state: DeviceState, now: Moment, history: History) -> Condition | None:
        reason = getattr(self, f"_{code.value}")(state, now, history)
        names = _KNOWN_BY.get(code, ())
        if reason:
            return Condition(code, False, reason)
        if any(name in self.needs and getattr(state, name) is None for name in names):
            return Condition(code, None)
        if names and all(getattr(state, name) is None for name in names):
            return None
        return Condition(code, True)

    def _clock(self, state: DeviceState, now: Moment, history: History) -> str | None:
        if doubt := now.doubt(history.newest_first()):
            return doubt
        if history.seen and abs(history_jump := now.jump_since(history.seen)) > JUMP_SECONDS:
            return f"the clock was moved by {history_jump / 60:+.0f} minutes; it has to hold for a while first"
        if history.jumped and now.same_boot(history.jumped) and now.since(history.jumped) < SETTLED_SECONDS:
            return f"the clock was moved; it has to hold for {SETTLED_SECONDS / 60:.0f} minutes first"
        return None

    def _hours(self, state: DeviceState, now: Moment, history: History) -> str | None:
        start, end = self.settings.window_from, self.settings.window_until
        at = local_time(now.wall)
        if start != end and not is_hour_between(at.hour, start, end):
            return f"it is {at:%H:%M}; the device learns from {start} to {end} o'clock"
        return None

    def _unknown(self, state: DeviceState, now: Moment, history: History) -> str | None:
        unknown = [name for name in self.needs if getattr(state, name) is None]
        if unknown:
            return f"unknown: {', '.join(unknown)}"
        return None

    def _plugged(self, state: DeviceState, now: Moment, history: History) -> str | None:
        if state.plugged is False:
            return "not plugged in"
        return None

    def _percentage(self, state: DeviceState, now: Moment, history: History) -> str | None:
        least = self.settings.window_percentage
        if history.code == Code.PERCENTAGE:
            least = min(100, least + FULLER)
        if state.percentage is not None and state.percentage < least:
            return f"the battery is at {state.percentage:.0f}%; {least:.0f}% are needed"
        return None

    def _temperature(self, state: DeviceState, now: Moment, history: History) -> str | None:
        most = self.settings.window_temperature - (COOLER_C if history.code == Code.TEMPERATURE else 0)
        if state.temperature_c is not None and state.temperature_c > most:
            return f"the battery has {state.temperature_c:.1f} degrees C; {most:.1f} are the limit"
        return None

    def _thermal(self, state: DeviceState, now: Moment, history: History) -> str | None:
        limit = self.settings.window_thermal_status
        if state.thermal_status is not None and state.thermal_status >= limit:
            return f"thermal status {state.thermal_status}; it must be below {limit}"
        if state.thermal_headroom is not None and state.thermal_headroom >= SEVERE_HEADROOM:
            return f"thermal headroom {state.thermal_headroom:.2f} of {SEVERE_HEADROOM} is used up"
        return None

    def _idle(self, state: DeviceState, now: Moment, history: History) -> str | None:
        if state.idle is False:
            return "the device is in use"
        return None

    def _memory(self, state: DeviceState, now: Moment, history: History) -> str | None:
        """The trainer's share is taken already while it runs; then half of the reserve has to be left."""
        s = self.settings
        least = s.window_reserve_mb / 2 if history.running else (s.memory_mb or LEAST_FOUND_MB) + s.window_reserve_mb
        if state.free_memory_mb is not None and state.free_memory_mb < least:
            return f"{state.free_memory_mb:.0f} MB of memory are free; {least:.0f} are needed"
        return None

    def _disk(self, state: DeviceState, now: Moment, history: History) -> str | None:
        least = self.settings.window_disk_mb
        if state.free_disk_mb is not None and state.free_disk_mb < least:
            return f"{state.free_disk_mb:.0f} MB of storage are free; {least} are needed"
        return None

    def _length(self, state: DeviceState, now: Moment, history: History) -> str | None:
        longest = 60 * self.settings.slice_minutes - STOP_SECONDS
        if history.running and not 0 <= now.uptime - history.running.start.uptime < longest:
            return f"the slice has had its {self.settings.slice_minutes:g} minutes"
        return None

    def _slices(self, state: DeviceState, now: Moment, history: History) -> str | None:
        most = self.settings.slices_a_day
        since = history.ages(now)
        recent = sum(since[past.start] < DAY for past in history.slices)
        if not history.running and recent >= most:
            return f"{recent} slices in the last 24 hours; {most} are the limit"
        return None

    def _rest(self, state: DeviceState, now: Moment, history: History) -> str | None:
        if history.running or not history.slices:
            return None
        last, pause = history.slices[-1], 60 * self.settings.slice_rest_minutes
        since = history.ages(now)[last.end or last.start]
        if since < pause:
            return f"resting for {(pause - since) / 60:.0f} more minutes after the last slice"
        return None

    def _described(self, state: DeviceState) -> str:
        known = [f"{name} {value:g}" for name, value in vars(state).items() if type(value) in (int, float)]
        return ", ".join(["plugged in"] * bool(state.plugged) + known) or "nothing is against it"
