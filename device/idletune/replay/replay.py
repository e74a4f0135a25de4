"""Replays a person's conversations through the loop, and measures what was learned.

The stream plays in source order against a calendar of its own: so many exchanges a day, within the hours in which
the user may be asked, and so many questions to the user a day. The model writes its own replies, selection sees only
those, and where the user is asked, the reference response of the file answers. The last fifth in time is never
trained on; it is the measure, before and after, in both engines.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from ..dialogue import Exchange
from ..errors import UsageError
from ..learning.training_runs import MIN_ANSWERS_TO_TRAIN
from ..model.reply import Reply
from ..progress import Bars
from ..runtime import Runtime
from ..selection.observation import Observation
from ..state.origins import REPLAY
from .calendar import Calendar
from .held_out import HeldOut
from .report import BothEngines, Learned, Measure, Played, ReplayReport

HELD_OUT_SHARE = 5  # every last fifth in time
EXCHANGES_A_DAY = 10
REPLY_TOKENS = 40
LEAST_EXCHANGES = 10
BATCH = 32  # replies generated together


class Replay:
    """Plays `exchanges` through a runtime that was opened on an empty home with `calendar` as its clock.

    `measured` of the held-out exchanges are what is measured, all of them where it is None.
    """

    def __init__(
        self,
        runtime: Runtime,
        calendar: Calendar,
        exchanges: list[Exchange],
        *,
        a_day: int = EXCHANGES_A_DAY,
        measured: int | None = None,
        bars: Bars,
    ):
        if len(exchanges) < LEAST_EXCHANGES:
            raise UsageError(f"{len(exchanges)} exchanges are too few to learn from; give at least {LEAST_EXCHANGES}")
        if runtime.store.counter("seen"):
            raise UsageError(f"{runtime.store.home} holds a user's state already; replay into an empty --home")
        held = max(1, len(exchanges) // HELD_OUT_SHARE)
        self.stream = exchanges[:-held]
        _check_limit(runtime.settings.daily_limit, len(self.stream), a_day)
        self.runtime, self.calendar, self.a_day, self.bars = runtime, calendar, a_day, bars
        self.reply_tokens = min(REPLY_TOKENS, runtime.settings.reply_tokens)
        self.held_out = HeldOut(runtime, exchanges[-held:], self.reply_tokens, min(held, measured or held), bars)
        self.references: dict[int, str] = {}
        self.played, self.replaced = Played(), 0
        self.seconds: dict[str, float] = defaultdict(float)
        self.tokens: Counter[str] = Counter()

    def run(self) -> ReplayReport:
        """Measure, play the stream, learn, and measure again."""
        runtime, settings = self.runtime, asdict(self.runtime.settings)
        with self._timed("measuring"):
            base = self.held_out.measure("measuring before")
        self.play()
        learned = Learned.of(runtime.learn(bars=self.bars, embed_anew=False))  # nothing is observed after it
        with self._timed("measuring"):
            # Where nothing was promoted the base still answers, and its measure stands for both.
            adapted = base if runtime.model.adapter is None else self.held_out.measure("measuring after")
            retrieved = self._with_retrieval()
            base_losses, adapted_losses = self._with_trainer_losses(base, adapted)
        return ReplayReport(
            base=base_losses,
            adapted=adapted_losses,
            with_retrieval=retrieved,
            held_out=self.held_out.exchanges,
            played=self.played,
            learned=learned,
            seconds={**self.seconds, **learned.seconds},
            tokens={**self.tokens, "training": learned.tokens},
            settings=settings,
        )

    def play(self) -> Played:
        """The stream: a reply to each question, selection, and the day's questions to the user."""
        for number, (exchange, reply) in enumerate(self._replies()):
            self.calendar.at(number, self.a_day)
            with self._timed("selection"):
                try:
                    observation = self.runtime.observe(exchange.question, reply, origin=REPLAY)
                except UsageError:  # a text too large for the buffer
                    self.played.refused += 1
                    continue
            self._note(number, exchange, observation)
            with self._timed("annotation"):
                self._ask()
        return self.played

    def _note(self, number: int, exchange: Exchange, observation: Observation) -> None:
        """Count what became of an exchange, and remember its reference response."""
        played = self.played
        played.seen += 1
        if observation.admission.id is not None:
            self.references[observation.admission.id] = exchange.response
            self.replaced += observation.admission.evicted is not None
            played.selected += 1
        domain = observation.dialogue_set.domain
        played.domains[domain] = played.domains.get(domain, 0) + 1
        played.fill.append((number + 1, len(self.runtime.buffer), self.replaced))

    def _ask(self) -> None:
        """The reference response plays the user, as often as the user may be asked."""
        while (prompt := self.runtime.next_prompt()) is not None:
            self.runtime.queue.edit(prompt.id, self.references[prompt.dialogue_set_id], REPLAY)
            self.played.asked += 1

    def _replies(self) -> Iterator[tuple[Exchange, Reply]]:
        """The model's own replies, a batch at a time, in the order of the stream."""
        with self.bars("replying", len(self.stream)) as bar:
            for start in range(0, len(self.stream), BATCH):
                exchanges = self.stream[start : start + BATCH]
                with self._timed("replying"):
                    replies = self._generated(exchanges, start)
                self.tokens["replying"] += sum(len(reply.tokens) for reply in replies)
                bar(start + len(exchanges), f"{len(self.runtime.buffer)} kept")
                yield from zip(exchanges, replies)

    def _generated(self, exchanges: list[Exchange], start: int) -> list[Reply]:
        s = self.runtime.settings
        return self.runtime.model.generate(
            [self.held_out.prompt(e, []) for e in exchanges],
            max_tokens=self.reply_tokens,
            temperature=s.temperature,
            top_p=s.top_p,
            seeds=[s.seed + start + i for i in range(len(exchanges))],
            questions=[e.question for e in exchanges],
        )

    def _with_retrieval(self) -> Measure | None:
        """The measure as the user gets answers, with the nearest ones before the question."""
        if not self.runtime.retrieval.has_any():
            return None
        return self.held_out.measure("measuring retrieval", self.held_out.few_shot())

    def _with_trainer_losses(self, base: Measure, adapted: Measure) -> tuple[BothEngines, BothEngines]:
        """The trainer's losses on the same held-out exchanges, with and without the adapter that serves."""
        examples, runtime = self.held_out.examples([[] for _ in self.held_out.exchanges]), self.runtime
        serving = runtime.adapters.current()
        with self.bars("measuring", 2) as bar:
            base_loss = runtime.trainer_loss(examples, None)
            bar(1)
            adapted_loss = runtime.trainer_loss(examples, serving) if serving else base_loss
            bar(2)
        return BothEngines(**vars(base), nll_trainer=base_loss), BothEngines(**vars(adapted), nll_trainer=adapted_loss)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] += time.monotonic() - start


def _check_limit(daily_limit: int, exchanges: int, a_day: int) -> None:
    """UsageError where too few questions may be asked to learn from: before the work, not after it."""
    days = -(-exchanges // a_day)
    if daily_limit * days < MIN_ANSWERS_TO_TRAIN:
        raise UsageError(
            f"{daily_limit} questions a day on {days} days are too few; learning starts at {MIN_ANSWERS_TO_TRAIN}"
            " answers: raise daily_limit, or lower --per-day"
        )


def replay(
    runtime_of: Callable[[Calendar], Runtime],
    exchanges: list[Exchange],
    bars: Bars,
    a_day: int = EXCHANGES_A_DAY,
    measured: int | None = None,
) -> ReplayReport:
    """Open a runtime on the replay's own clock and play the exchanges through it."""
    calendar = Calendar()
    with runtime_of(calendar) as runtime:
        calendar.keep_to(runtime.settings.quiet_from, runtime.settings.quiet_until)
        return Replay(runtime, calendar, exchanges, a_day=a_day, measured=measured, bars=bars).run()
