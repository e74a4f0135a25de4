"""Slices of learning inside the windows that the policy opens, and the record of why and when.

`tick` is one look: it learns for one slice if that is allowed, and otherwise says why not. During a slice
the device is looked at every few seconds; the learner asks `should_stop` after each small step and leaves
its work behind. Decisions are kept as events, only where they change.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass

from ..errors import IdleTuneError
from ..learning.refresh import embeddings_due
from ..learning.rounds import LEAST_ANSWERS, new_answers, open_round
from ..settings import Settings
from ..state.store import Event, Store
from .clock import Moment, SystemClock
from .lock import is_learning, learner_lock
from .state_sources import StateSource
from .windows import JUMP_SECONDS, Decision, History, Slice, WindowPolicy

KINDS = "window", "clock", "slice", "slice_end"  # events that carry what both clocks showed
SLICES_READ = 200  # newest slice events looked at: more than a day's


@dataclass(frozen=True)
class Tick:
    """What a look led to: the decision, and for a slice its seconds and what came of it."""

    decision: Decision
    seconds: float = 0.0
    outcome: str = ""
    stopped: bool = False  # before it was done

    def __str__(self) -> str:
        if not self.outcome:
            return f"not learning: {self.decision.reason}"
        return f"learned for {self.seconds:.0f} s: {self.outcome}"


class Scheduler:
    """Over one home's store. `awake` is entered around each slice, e.g. to hold a wake lock; `interrupted` tells
    whether the program was asked to end: then a slice ends at its next step."""

    def __init__(
        self, store: Store, settings: Settings, source: StateSource, clock=None, awake: Callable = nullcontext,
        interrupted: Callable[[], bool] = lambda: False,
    ):
        self.store, self.settings, self.source = store, settings, source
        self.clock, self.awake = clock or SystemClock(), awake
        self.policy = WindowPolicy(settings)
        self.interrupted = interrupted

    def tick(
        self, learn: Callable[[Callable[[], bool]], str], asked: Callable[[], str] = lambda: "",
        seconds: float = float("inf"),
    ) -> Tick:
        """One slice of `learn(should_stop)` if the window is open; `learn` returns its outcome in words.

        `asked` tells why the slice is to stop now, "" while it may go on. `seconds` bounds it beside the settings:
        it ends when another step as long as the longest so far would end later.
        Raises UsageError when another process is learning in this home.
        """
        with learner_lock(self.store.home):
            decision = self._recorded(self.decide())
            return self._slice(learn, _Watch(self, asked, seconds)) if decision.open else Tick(decision)

    def decide(self) -> Decision:
        """The decision at this moment; nothing is recorded."""
        if nothing := self.nothing_to_learn():
            return Decision(False, "nothing", nothing)
        return self.policy.decide(self.source.read(), self.clock.now(), self.history())

    def nothing_to_learn(self) -> str | None:
        """Why there is nothing to do, or None."""
        if open_round(self.store) or embeddings_due(self.store):
            return None
        new, wanted = new_answers(self.store), self.settings.new_answers
        if new < wanted and not self.store.counter("retrain_owed"):
            return f"{new} new answers; learning starts at {wanted}"
        answered = self.store.row("SELECT count(*) AS n FROM dialogue_sets WHERE response IS NOT NULL")["n"]
        return f"{answered} answers; learning starts at {LEAST_ANSWERS}" if answered < LEAST_ANSWERS else None

    def history(self) -> History:
        """What the events tell of windows, slices and clocks so far."""
        last = {kind: self.store.events(1, kind) for kind in KINDS}
        newest = max((event for found in last.values() for event in found), key=lambda event: event.id, default=None)
        return History(
            code=last["window"][0].detail["code"] if last["window"] else "",
            slices=_slices(self.store.events(SLICES_READ, "slice"), self.store.events(SLICES_READ, "slice_end")),
            seen=_moment(newest) if newest else None,
            jumped=_moment(last["clock"][0]) if last["clock"] else None,
        )

    def status(self) -> dict:
        """Why it learns or does not at this moment, and its last slice; plain values."""
        running = is_learning(self.store.home)
        decision = Decision(True, "running", "a slice is running") if running else self.decide()
        ended = next(iter(self.store.events(1, "slice_end")), None)
        last = {"at": ended.at, **ended.detail} if ended else None
        return {"running": running, **asdict(decision), "last": last}

    def _slice(self, learn: Callable, watch: "_Watch") -> Tick:
        self._log("slice", watch.start)
        outcome = "failed"
        try:
            with self.awake():
                outcome = learn(watch.should_stop)
        except IdleTuneError as error:
            outcome = f"failed: {error}"
            raise
        finally:
            end = self.clock.now()
            seconds, closed = end.since(watch.start), watch.closed
            self._log("slice_end", end, seconds=round(seconds, 1), outcome=outcome, stopped_by=closed and closed.reason)
        return Tick(
            closed or self.decide(), seconds, outcome + (f"; stopped: {closed.reason}" if closed else ""),
            stopped=closed is not None,
        )

    def _recorded(self, decision: Decision) -> Decision:
        """Keep the decision as an event if it differs from the last one; and a jump of the clock."""
        now, history = self.clock.now(), self.history()
        if history.seen and abs(jump := now.jump_since(history.seen)) > JUMP_SECONDS:
            self._log("clock", now, moved_seconds=round(jump))
        if decision.code != history.code:
            self._log("window", now, open=decision.open, code=decision.code, reason=decision.reason)
        return decision

    def _log(self, kind: str, at: Moment, **detail) -> None:
        self.store.log(kind, **detail, wall=at.wall, uptime=at.uptime, boot=at.boot)


class _Watch:
    """Looks at the device during a slice, at most every `poll_seconds`; once closed it stays closed."""

    def __init__(self, scheduler: Scheduler, asked: Callable[[], str], seconds: float):
        self.scheduler, self.history = scheduler, scheduler.history()
        self.asked, self.seconds, self.longest_step = asked, seconds, 0.0
        self.start = self.looked = self.stepped = scheduler.clock.now()
        self.history.running, self.history.seen = Slice(self.start), self.start
        self.closed: Decision | None = None

    def should_stop(self) -> bool:
        scheduler, now = self.scheduler, self.scheduler.clock.now()
        if self.closed is None and (why := "asked to stop" if scheduler.interrupted() else self.asked()):
            self.closed = Decision(False, "interrupted", why)
        elif self.closed is None and self._spent(now):
            self.closed = Decision(False, "length", f"the slice was given {self.seconds:g} seconds")
        elif self.closed is None and self._due(now):
            self.looked = now
            decision = scheduler.policy.decide(scheduler.source.read(), scheduler.clock.now(), self.history)
            if not decision.open:
                self.closed = scheduler._recorded(decision)
        return self.closed is not None

    def _spent(self, now: Moment) -> bool:
        """Whether a step as long as the longest would end after the given time."""
        self.longest_step = max(self.longest_step, now.uptime - self.stepped.uptime)
        self.stepped = now
        return now.uptime - self.start.uptime + self.longest_step > self.seconds

    def _due(self, now: Moment) -> bool:
        return not 0 <= now.uptime - self.looked.uptime < self.scheduler.settings.poll_seconds


def watch(scheduler: Scheduler, learn: Callable, sleep: Callable[[float], None], every: float, say: Callable) -> None:
    """Tick for ever, saying what happened where it differs from the time before; a tick that fails is one of many."""
    said = None
    while not scheduler.interrupted():
        try:
            tick = scheduler.tick(learn)
            code, outcome, line = tick.decision.code, tick.outcome, str(tick)
        except IdleTuneError as error:
            code, outcome, line = str(error), "", f"not learning: {error}"
        if (code, outcome) != said or outcome:
            say(line)
        said = code, outcome
        if not scheduler.interrupted():
            sleep(every)


def _moment(event: Event) -> Moment:
    return Moment(event.detail["wall"], event.detail["uptime"], event.detail["boot"])


def _slices(starts: list[Event], ends: list[Event]) -> list[Slice]:
    """Slices from their two events, newest last; a start that another start follows was killed."""
    slices: list[Slice] = []
    for event in sorted([*starts, *ends], key=lambda event: event.id):
        if event.kind == "slice":
            slices.append(Slice(_moment(event)))
        elif slices:
            slices[-1] = Slice(slices[-1].start, _moment(event))
    return slices
