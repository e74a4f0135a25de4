"""A month of use against a fake clock: charging habits, heat, interruptions, conversations.

Real here: the windows, the scheduler, the buffer with its policy, the annotation queue, the store, the
rounds and the adapters' records and files. Played by a script: the phone and its user
(simulated_phone.py), and the language model and the trainer, which only take the time they would take on
a phone (`Work`) and end in a verdict drawn from the seed. Nothing is learned.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from ..clock import FakeClock
from ..dialogue import DialogueSet, Scores
from ..formats.metadata import Metadata
from ..formats.model_shape import ModelShape
from ..learning.adapters import Adapters
from ..learning.outcome import Outcome, SliceOutcome
from ..schedule.device_state import DeviceState
from ..schedule.scheduler import Scheduler
from ..schedule.windows import History
from ..selection.buffer import Buffer
from ..selection.policies import make_policy
from ..settings import Settings
from ..state.annotation import AnnotationQueue
from ..state.run_records import TrainingRun, begin_run, open_run
from ..state.store import Store
from ..training.lora import Lora
from .simulated_phone import HOUR, MINUTE, SimulatedPhone

START = datetime(2026, 3, 1, 12)
JOB_MINUTES = 15  # Android's shortest period
HIDDEN = 16
SHAPE = ModelShape.from_metadata(
    Metadata(
        {
            "general.architecture": "llama",
            "llama.block_count": 1,
            "llama.embedding_length": HIDDEN,
            "llama.feed_forward_length": HIDDEN,
            "llama.attention.head_count": 2,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
        }
    ),
    vocabulary=64,
)
STEP_SECONDS = 2.0  # of the scripted learner, as long as a micro-step may take
DOMAINS = "food", "work", "health", "home", "travel"
USER = (("edit", 0.45), ("accept", 0.3), ("dismiss", 0.15), (None, 0.1))  # how a question is answered
PROMOTION_CHANCE = 0.75


@dataclass(frozen=True)
class Work:
    """Seconds that learning takes: an assumption for a phone, unless they were measured."""

    synthesis: float = 20.0  # for each answer
    training: float = 60.0  # for each answer
    gate: float = 180.0
    first_epoch: float = 0.0  # of each slice, in which training goes slower: the frozen layers have to run as well
    first_epoch_share: float = 1.0  # of its speed that it has then

    def stages(self, answers: int) -> dict[str, float]:
        """Seconds of each stage of a training run."""
        return {"synthesis": self.synthesis * answers, "training": self.training * answers, "gate": self.gate}


@dataclass
class SliceRecord:
    """A slice, in seconds since 1970; `stopped_by` is the code of what closed the window, or ''."""

    start: float
    end: float
    stopped_by: str
    seconds: float


@dataclass
class Simulated:
    """What happened; times in seconds since 1970. `trace` is the device's true state at each step of a slice."""

    days: int
    seed: int
    slices: list[SliceRecord] = field(default_factory=list)
    windows: list[tuple[float, float]] = field(default_factory=list)  # when the policy would have let it learn
    battery: list[tuple[float, float, float]] = field(default_factory=list)  # time, percent, degrees C
    charging: list[tuple[float, float]] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    promoted: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)  # looks by the code of their decision
    trace: list[tuple[float, DeviceState]] = field(default_factory=list)
    exchanges: int = 0
    answered: int = 0
    held: int = 0  # answered sets in the buffer at the end

    def summary(self) -> str:
        longest = max((record.seconds for record in self.slices), default=0.0)
        per_day = _most_per_day(self.asked)
        stops: dict[str, int] = {}
        for record in self.slices:
            stops[record.stopped_by or "finished"] = stops.get(record.stopped_by or "finished", 0) + 1
        return "\n".join(
            (
                f"{self.days} days, seed {self.seed}: {self.exchanges} exchanges, asked {len(self.asked)} times"
                f" (at most {per_day} a day), {self.answered} answered, {self.held} of"
                " the answers in the buffer at the end",
                f"{len(self.slices)} slices, {sum(r.seconds for r in self.slices) / 60:.0f} minutes of learning,"
                f" the longest {longest / 60:.2f} minutes; ended by {_counted(stops)}",
                f"adapters: {len(self.promoted)} promoted, {len(self.rejected)} rejected",
                f"looks: {_counted(self.reasons)}",
            )
        )


class Simulation:
    """Plays `days` days in an empty home; everything follows from the seed, the settings and the work."""

    def __init__(self, home: Path, days: int, seed: int, settings: Settings | None = None, work: Work = Work()):
        self.settings, self.result, self.work = settings or Settings(), Simulated(days, seed), work
        self.chance = random.Random(seed)
        self.clock = FakeClock(START.timestamp())
        self.phone = SimulatedPhone(self.clock, seed)
        s = self.settings
        self.store = Store(home, lambda: self.clock.now().wall)
        self.buffer = Buffer(self.store, make_policy(s.policy, s.seed), s.buffer_capacity, s.bin_bytes, hidden=HIDDEN)
        self.queue = AnnotationQueue(self.store, s.daily_limit, s.quiet_from, s.quiet_until, bin_bytes=s.bin_bytes)
        self.adapters = Adapters(self.store, "simulated", s.keep_adapters)
        self.scheduler = Scheduler(self.store, s, self.phone, self.clock)

    def answer_at_once(self, count: int) -> None:
        """Begin with so many answers that were not learned yet."""
        for number in range(count):
            id = self.buffer.keep(self._exchange(f"earlier question {number}", self.clock.now().wall))
            self.queue.answer_set(id, "a better answer", "", accepted=False)

    def run(self, ended: Callable[[Simulated], bool] = lambda result: False) -> Simulated:
        """From noon to noon, minute by minute, until it has `ended`; Android's job fires every quarter of an hour on
        the charger."""
        with self.store:
            while self.clock.now().wall < START.timestamp() + self.result.days * 24 * HOUR and not ended(self.result):
                self._minute()
            self.result.held = self.buffer.answered()
        return self.result

    def _minute(self) -> None:
        began = self.clock.now().wall
        self.clock.advance(MINUTE)
        self.phone.move_on()
        now = self.clock.now().wall
        self._draw(now)
        for _ in [talk for talk in self.phone.day().talks if began < talk <= now]:
            self._talk(now)
        if int(now // MINUTE) % JOB_MINUTES == 0 and self.phone.plugged():
            self._tick()

    def _tick(self) -> None:
        start, result = self.clock.now().wall, self.result
        tick = self.scheduler.tick(self._learn)
        code = tick.decision.code.value
        result.reasons[code] = result.reasons.get(code, 0) + 1
        if tick.outcome is not None:
            stopped = tick.decision.code.value if tick.outcome.kind is Outcome.UNFINISHED else ""
            result.slices.append(SliceRecord(start, self.clock.now().wall, stopped, tick.seconds))

    def _talk(self, now: float) -> None:
        """An exchange is observed; the user may be asked about an earlier one and may answer."""
        self.result.exchanges += 1
        if self.buffer.admit(self._exchange(f"question {self.result.exchanges}", now)).id is not None:
            self.queue.refill()
        before = self.queue.asked_today(now)
        prompt = self.queue.next(now)
        if prompt is not None:
            self.result.asked += [now] * (self.queue.asked_today(now) - before)
            self._answer(prompt.id)

    def _exchange(self, question: str, now: float) -> DialogueSet:
        direction = np.random.default_rng(self.chance.randrange(2**32)).standard_normal(HIDDEN)
        embedding = (direction / np.linalg.norm(direction)).astype(np.float32)
        scores = Scores(self.chance.random(), self.chance.random(), self.chance.random())
        return DialogueSet(question, "reply", self.chance.choice(DOMAINS), embedding, scores, created=now)

    def _answer(self, prompt_id: int) -> None:
        manner = self.chance.choices([name for name, _ in USER], [weight for _, weight in USER])[0]
        if manner == "edit":
            self.queue.edit(prompt_id, "a better answer")
        elif manner is not None:
            getattr(self.queue, manner)(prompt_id)
        self.result.answered += manner in ("edit", "accept")

    def _learn(self, should_stop: Callable[[], bool]) -> SliceOutcome:
        """The scripted learner: works off the open round in steps, and goes on where it stood."""
        run = open_run(self.store) or self._begin()
        slower = self.work.first_epoch
        self.phone.learning = True
        try:
            for stage, needed in self.work.stages(len(run.training) + len(run.held_out)).items():
                while run.measures.get(stage, 0.0) < needed:
                    self.clock.advance(STEP_SECONDS)
                    self._draw(self.clock.now().wall)
                    share = self.work.first_epoch_share if stage == "training" and slower > 0 else 1.0
                    slower -= STEP_SECONDS if stage == "training" else 0.0
                    run.measures[stage] = run.measures.get(stage, 0.0) + STEP_SECONDS * share
                    if should_stop():
                        run.keep(stage, run.measures[stage])
                        return SliceOutcome.unfinished(stage)
            return self._judge(run)
        finally:
            self.phone.learning = False

    def _begin(self) -> TrainingRun:
        sets = [s for s in self.buffer.sets() if s.response is not None and s.tags["learned_in"] is None]
        ids = [s.id for s in sets if s.id is not None]
        held = ids[:: max(2, round(1 / max(0.01, self.settings.held_out_share)))]
        return begin_run(self.store, [id for id in ids if id not in held], held)

    def _judge(self, run: TrainingRun) -> SliceOutcome:
        learned = run.training + run.held_out
        adapter = self.adapters.add(Lora(SHAPE, "q", 1, 1.0).initialize(0), self.settings, learned)
        promoted, now = self.chance.random() < PROMOTION_CHANCE, self.clock.now().wall
        if promoted:
            self.adapters.promote(adapter.version, {}, "as the script has it")
            self.buffer.mark_learned(learned, adapter.version)
        else:
            self.adapters.reject(adapter.version, {}, "as the script has it")
        run.finish()
        (self.result.promoted if promoted else self.result.rejected).append(now)
        outcome = Outcome.PROMOTED if promoted else Outcome.REJECTED
        return SliceOutcome(outcome, outcome.value)

    def _draw(self, now: float) -> None:
        """Keep what the picture shows: charge and charging, and when the policy alone would allow learning."""
        phone, result = self.phone, self.result
        phone.move_on()
        if not result.battery or now - result.battery[-1][0] >= 10 * MINUTE:
            result.battery.append((now, phone.percentage, phone.temperature_c))
        _extend(result.charging, now, phone.plugged())
        if phone.plugged():
            state = phone.read()
            _extend(result.windows, now, self.scheduler.policy.decide(state, self.clock.now(), History()).open)
        if phone.learning:
            result.trace.append((now, phone.read()))


def simulate(home: Path, days: int, seed: int, settings: Settings | None = None) -> Simulated:
    return Simulation(home, days, seed, settings).run()


def _extend(spans: list[tuple[float, float]], now: float, on: bool) -> None:
    """Add the moment to the last span, or begin one; a gap of more than a minute ends it."""
    if not on:
        return
    if spans and now - spans[-1][1] <= MINUTE + 1:
        spans[-1] = spans[-1][0], now
    else:
        spans.append((now, now))


def _most_per_day(times: list[float]) -> int:
    days = [datetime.fromtimestamp(at).date() for at in times]
    return max(map(days.count, set(days)), default=0)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1])) or "none"
