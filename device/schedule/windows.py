"""When the device may learn: the policy that opens and closes the window.

- Every check can only close it. What a check needs to know and does not keeps it shut, and so does a wall
  clock that has just been moved.
- After it closed for heat or charge it opens again only some way inside the limit, so that it does not flap.
- A slice's length is measured by uptime; nobody's clock can stretch it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..errors import UsageError
from .clock import Moment
from .device_state import FIELDS, DeviceState

DAY = 86400.0
STOP_SECONDS = 15.0  # of a slice that are left for the last micro-step and the checkpoint
COOLER_C, FULLER = 2.0, 3.0  # how far inside the limit it opens again
JUMP_SECONDS = 120.0  # a wall clock that moved further than this was set
SETTLED_SECONDS = 600.0  # how long a clock that was set has to hold
SEVERE_HEADROOM = 1.0
CHECKS = (
    "clock", "hours", "unknown", "plugged", "percentage", "temperature", "thermal", "idle", "memory", "disk",
    "length", "slices", "rest",
)


@dataclass(frozen=True)
class Decision:
    """Open or not, `code` (the check that closed it, "open", or the scheduler's own) and the reason in words."""

    open: bool
    code: str
    reason: str


@dataclass(frozen=True)
class Slice:
    """A stretch of learning; `end` is None for the running one, or one that was killed."""

    start: Moment
    end: Moment | None = None


@dataclass
class History:
    """What went before: the last decision's code, slices (newest last), and what the clocks showed."""

    code: str = ""
    slices: Sequence[Slice] = ()
    running: Slice | None = None
    seen: Moment | None = None  # a moment both clocks were read at, to notice a jump since
    jumped: Moment | None = None  # when a jump was noticed last


@dataclass(frozen=True)
class WindowPolicy:
    """Decides by the settings that begin with `window_` and `slice`; raises UsageError for an unknown field."""

    settings: object
    needs: tuple[str, ...] = field(init=False)

    def __post_init__(self):
        needs = tuple(name.strip() for name in self.settings.window_needs.split(",") if name.strip())
        for name in needs:
            if name not in FIELDS:
                raise UsageError(f"setting window_needs names {name!r}; choose from {', '.join(FIELDS)}")
        object.__setattr__(self, "needs", needs)

    def decide(self, state: DeviceState, now: Moment, history: History) -> Decision:
        """Whether to learn at this moment, with the first reason against it."""
        for name in CHECKS:
            reason = getattr(self, f"_{name}")(state, now, history)
            if reason:
                return Decision(False, name, reason)
        return Decision(True, "open", self._described(state))

    def _clock(self, state, now, history) -> str | None:
        if history.seen and abs(history_jump := now.jump_since(history.seen)) > JUMP_SECONDS:
            return f"the clock was moved by {history_jump / 60:+.0f} minutes; it has to hold for a while first"
        if history.jumped and now.same_boot(history.jumped) and now.since(history.jumped) < SETTLED_SECONDS:
            return f"the clock was moved; it has to hold for {SETTLED_SECONDS / 60:.0f} minutes first"

    def _hours(self, state, now, history) -> str | None:
        start, end = self.settings.window_from, self.settings.window_until
        at = datetime.fromtimestamp(now.wall)
        if start != end and not (at.hour - start) % 24 < (end - start) % 24:
            return f"it is {at:%H:%M}; the device learns from {start} to {end} o'clock"

    def _unknown(self, state, now, history) -> str | None:
        unknown = [name for name in self.needs if getattr(state, name) is None]
        if unknown:
            return f"unknown: {', '.join(unknown)}"

    def _plugged(self, state, now, history) -> str | None:
        if state.plugged is False:
            return "not plugged in"

    def _percentage(self, state, now, history) -> str | None:
        least = self.settings.window_percentage
        if history.code == "percentage":
            least = min(100, least + FULLER)
        if state.percentage is not None and state.percentage < least:
            return f"the battery is at {state.percentage:.0f}%; {least:.0f}% are needed"

    def _temperature(self, state, now, history) -> str | None:
        most = self.settings.window_temperature - (COOLER_C if history.code == "temperature" else 0)
        if state.temperature_c is not None and state.temperature_c > most:
            return f"the battery has {state.temperature_c:.1f} degrees C; {most:.1f} are the limit"

    def _thermal(self, state, now, history) -> str | None:
        limit = self.settings.window_thermal_status
        if state.thermal_status is not None and state.thermal_status >= limit:
            return f"thermal status {state.thermal_status}; it must be below {limit}"
        if state.thermal_headroom is not None and state.thermal_headroom >= SEVERE_HEADROOM:
            return f"thermal headroom {state.thermal_headroom:.2f} of {SEVERE_HEADROOM} is used up"

    def _idle(self, state, now, history) -> str | None:
        if state.idle is False:
            return "the device is in use"

    def _memory(self, state, now, history) -> str | None:
        """The trainer's share is taken already while it runs; then half of the reserve has to be left."""
        s = self.settings
        least = s.window_reserve_mb / 2 if history.running else s.memory_mb + s.window_reserve_mb
        if state.free_memory_mb is not None and state.free_memory_mb < least:
            return f"{state.free_memory_mb:.0f} MB of memory are free; {least:.0f} are needed"

    def _disk(self, state, now, history) -> str | None:
        least = self.settings.window_disk_mb
        if state.free_disk_mb is not None and state.free_disk_mb < least:
            return f"{state.free_disk_mb:.0f} MB of storage are free; {least} are needed"

    def _length(self, state, now, history) -> str | None:
        longest = 60 * self.settings.slice_minutes - STOP_SECONDS
        if history.running and not 0 <= now.uptime - history.running.start.uptime < longest:
            return f"the slice has had its {self.settings.slice_minutes:g} minutes"

    def _slices(self, state, now, history) -> str | None:
        most = self.settings.slices_a_day
        recent = sum(0 <= now.since(past.start) < DAY for past in history.slices)
        if not history.running and recent >= most:
            return f"{recent} slices in the last 24 hours; {most} are the limit"

    def _rest(self, state, now, history) -> str | None:
        if history.running or not history.slices:
            return None
        last, pause = history.slices[-1], 60 * self.settings.slice_rest_minutes
        since = now.since(last.end or last.start)
        if 0 <= since < pause:
            return f"resting for {(pause - since) / 60:.0f} more minutes after the last slice"

    def _described(self, state: DeviceState) -> str:
        known = [f"{name} {value:g}" for name, value in vars(state).items() if type(value) in (int, float)]
        return ", ".join(["plugged in"] * bool(state.plugged) + known) or "nothing is against it"
