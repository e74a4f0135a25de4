"""Slices of learning inside the windows that the policy opens, and the record of why and when.

`tick` is one look: it learns for one slice if that is allowed, and otherwise says why not. During a slice
the device is looked at every few seconds; the learner asks `should_stop` after each small step and leaves
its work behind. Decisions are kept where they change (state/schedule_records.py).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass

from ..clock import JUMP_SECONDS, Clock, Moment, SystemClock
from ..errors import IdleTuneError
from ..learning.answered import weightless
from ..learning.outcome import SliceOutcome
from ..learning.training_runs import MIN_ANSWERS_TO_TRAIN, TooFewAnswers, count_answers, resumable_run
from ..settings import Settings
from ..state import schedule_records
from ..state.second_replies import due
from ..state.set_records import embeddings_due
from ..state.store import Store
from .lock import is_learning, learner_lock
from .state_sources import StateSource
from .windows import Code, Condition, Decision, History, Slice, WindowPolicy

Learner = Callable[[Callable[[], bool]], SliceOutcome]  # called with should_stop; does one slice


@dataclass(frozen=True)
class Tick:
    """What a look led to: the decision, and for a slice its seconds and outcome (None where nothing was done)."""

    decision: Decision
    seconds: float = 0.0
    outcome: SliceOutcome | None = None
    stopped: bool = False  # before it was done

    @property
    def reason(self) -> str:
        """For people: what the slice came to, or why there was none."""
        if self.outcome is None:
            return self.decision.reason
        return self.outcome.text + (f"; stopped: {self.decision.reason}" if self.stopped else "")

    def __str__(self) -> str:
        if self.outcome is None:
            return f"not learning: {self.reason}"
        return f"learned for {self.seconds:.0f} s: {self.reason}"


class Scheduler:
    """Over one home's store. `awake` is entered around each slice, e.g. to hold a wake lock; `interrupted` tells
    whether the program was asked to end: then a slice ends at its next step."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        source: StateSource,
        clock: Clock | None = None,
        awake: Callable[[], AbstractContextManager[object]] = nullcontext,
        interrupted: Callable[[], bool] = lambda: False,
    ):
        self.store, self.settings, self.source = store, settings, source
        self.clock: Clock = clock or SystemClock()
        self.awake = awake
        self.policy = WindowPolicy(settings)
        self.interrupted = interrupted

    def tick(
        self,
        learn: Learner,
        asked: Callable[[], str] = lambda: "",
        seconds: float = float("inf"),
        nothing: Callable[[], str | None] | None = None,
    ) -> Tick:
        """One slice of `learn(should_stop)` if the window is open; it returns its outcome.

        `asked` tells why the slice is to stop now, "" while it may go on. `seconds` bounds it beside the settings:
        it ends when another step as long as the longest so far would end later. `nothing` tells why there is nothing
        to do, where that is not whether there is something to learn.
        Raises UsageError when another process is learning in this home.
        """
        with learner_lock(self.store.home):
            decision = self._recorded(self.decide(nothing))
            return self._slice(learn, _Watch(self, asked, seconds)) if decision.open else Tick(decision)

    def decide(self, nothing: Callable[[], str | None] | None = None) -> Decision:
        """The decision at this moment; nothing is recorded. `nothing` as in `tick`."""
        if reason := (nothing or self.nothing_to_do)():
            return Decision(False, Code.NOTHING, reason)
        return self.policy.decide(self.source.read(), self.clock.now(), self.history())

    def conditions(self) -> list[Condition]:
        """What has to hold for a slice to begin: something to learn, then each condition of the device."""
        nothing = self.nothing_to_learn()
        device = self.policy.conditions(self.source.read(), self.clock.now(), self.history())
        return [Condition(Code.NOTHING, nothing is None, nothing or ""), *device]

    def has_unfinished_run(self) -> bool:
        """Whether a training run was begun that the next slice goes on with."""
        return resumable_run(self.store) is not None

    def nothing_to_do(self) -> str | None:
        """Why a slice would have nothing to do, or None: something to learn, or second replies to be written."""
        settings = self.settings
        return None if due(self.store, settings.ask_choices, settings.daily_limit) else self.nothing_to_learn()

    def nothing_to_learn(self) -> str | None:
        """Why there is nothing to learn, or None."""
        if resumable_run(self.store) or embeddings_due(self.store):
            return None
        wanted, owed = self.settings.new_answers, self.store.counter("retrain_owed") > 0
        left_out = weightless(self.store, self.settings)
        new, answered = count_answers(self.store, 0 if owed else wanted, left_out)
        if new < wanted and not owed:
            told = f"{new} new {'answer' if new == 1 else 'answers'}; learning starts at {wanted}"
            return f"{told}; replies found good are kept, not trained on ({len(left_out)})" if left_out else told
        too_few = answered < MIN_ANSWERS_TO_TRAIN
        return f"{answered} answers; learning starts at {MIN_ANSWERS_TO_TRAIN}" if too_few else None

    def history(self) -> History:
        """What was recorded of windows, slices and clocks so far."""
        moments = schedule_records.moments(self.store)
        return History(
            code=schedule_records.last_code(self.store),
            slices=[Slice(past.start, past.end) for past in schedule_records.slices(self.store)],
            seen=moments[-1] if moments else None,
            jumped=schedule_records.last_jump(self.store),
            moments=moments,
        )

    def status(self) -> dict:
        """Why it learns or does not at this moment, and its last slice; plain values."""
        running = is_learning(self.store.home)
        decision = Decision(True, Code.RUNNING, "a slice is running") if running else self.decide()
        return {"running": running, **asdict(decision), "last": self._last_slice()}

    def _last_slice(self) -> dict | None:
        ended = schedule_records.last_ended_slice(self.store)
        if ended is None or ended.end is None:
            return None
        return {
            "at": ended.end.wall,
            "seconds": ended.seconds,
            "outcome": ended.outcome,
            "stopped_by": ended.stopped_by,
        }

    def _slice(self, learn: Learner, watch: "_Watch") -> Tick:
        slice_id = schedule_records.begin_slice(self.store, watch.start)
        outcome, nothing, text = None, None, "failed"
        try:
            with self.awake():
                outcome = learn(watch.should_stop)
            text = outcome.text
        except TooFewAnswers as error:  # what it was to learn from was forgotten or replaced
            text, nothing = "", Decision(False, Code.NOTHING, str(error))
        except IdleTuneError as error:
            text = f"failed: {error}"
            raise
        finally:
            end = self.clock.now()
            seconds, closed = end.since(watch.start), watch.closed
            stopped_by = closed.reason if closed else None
            schedule_records.end_slice(self.store, slice_id, end, round(seconds, 1), text, stopped_by)
        if nothing:
            return Tick(nothing, seconds)
        return Tick(closed or self.decide(), seconds, outcome, stopped=closed is not None)

    def _recorded(self, decision: Decision) -> Decision:
        """Keep the decision if it differs from the last one; and a jump of the clock."""
        now, history = self.clock.now(), self.history()
        if history.seen and abs(jump := now.jump_since(history.seen)) > JUMP_SECONDS:
            schedule_records.record_jump(self.store, now, round(jump))
        if decision.code != history.code:
            schedule_records.record_decision(self.store, now, decision.open, decision.code.value, decision.reason)
        return decision


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
            self.closed = Decision(False, Code.INTERRUPTED, why)
        elif self.closed is None and self._spent(now):
            self.closed = Decision(False, Code.LENGTH, f"the slice was given {self.seconds:g} seconds")
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


def watch(
    scheduler: Scheduler,
    learn: Learner,
    sleep: Callable[[float], None],
    every: float,
    say: Callable[[str], object],
) -> None:
    """Tick for ever, saying what happened where it differs from the time before; a tick that fails is one of many."""
    said: tuple[str, str] | None = None
    while not scheduler.interrupted():
        try:
            tick = scheduler.tick(learn)
            code, outcome, line = str(tick.decision.code), tick.reason if tick.outcome else "", str(tick)
        except IdleTuneError as error:
            code, outcome, line = str(error), "", f"not learning: {error}"
        if (code, outcome) != said or outcome:
            say(line)
        said = code, outcome
        if not scheduler.interrupted():
            sleep(every)
