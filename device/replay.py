"""Replays a person's conversations through the loop, and measures what it was worth.

The stream plays in source order against a calendar of its own: so many exchanges a day, so many questions
to the user a day. The model writes its own replies, selection sees only those, and where the user is
asked, the reference response of the file answers. The last fifth in time is never trained on; it is the
measure, before and after, in both engines.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from .dialogue import Exchange
from .errors import UsageError
from .learning.adapters import describe
from .learning.night import LearningReport
from .learning.rouge import rouge1
from .model.chat_template import conversation
from .runtime import Runtime

HELD_OUT_SHARE = 5  # every last fifth in time
EXCHANGES_A_DAY = 10
REPLY_TOKENS = 40
MORNING = datetime(2026, 1, 5, 9).timestamp()
DAY, MINUTE = 86400.0, 60.0
LEAST_EXCHANGES = 10


class Calendar:
    """The replay's clock: it moves when told to."""

    def __init__(self):
        self.now = MORNING

    def __call__(self) -> float:
        return self.now

    def at(self, exchange: int, a_day: int) -> None:
        day, turn = divmod(exchange, a_day)
        self.now = MORNING + day * DAY + turn * 30 * MINUTE


@dataclass
class Measure:
    """Held-out quality: mean losses in nats per token of both engines, ROUGE-1 F of greedy answers."""

    nll_trainer: float | None
    nll_llama_cpp: float
    rouge1: float
    tokens: int
    answers: list[str] = field(repr=False, default_factory=list)

    def to_dict(self) -> dict:
        return {k: v for k, v in vars(self).items() if k != "answers"}


@dataclass
class ReplayReport:
    """Everything a replay found; `to_dict` is what `--json` writes."""

    base: Measure | None = None
    adapted: Measure | None = None
    with_retrieval: Measure | None = None  # as the user gets it: nearest answers before the question; llama.cpp alone
    held_out: list[Exchange] = field(default_factory=list)
    seen: int = 0
    refused: int = 0
    asked: int = 0
    selected: int = 0
    fill: list[tuple[int, int, int]] = field(default_factory=list)  # exchanges seen, kept, replaced so far
    domains: dict[str, int] = field(default_factory=dict)
    learning: LearningReport | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start

    def to_dict(self) -> dict:
        learning, evidence, adapter = self.learning, self.learning.evidence, describe(self.learning.adapter)
        seconds = {**self.seconds, **learning.seconds}
        tokens = {**self.tokens, "training": learning.tokens}
        return {
            "base": self.base.to_dict(), "adapted": self.adapted.to_dict(),
            "with_retrieval": self.with_retrieval.to_dict() if self.with_retrieval else None,
            "general_probe": {"base": evidence.probe_base, "adapted": evidence.probe_adapted},
            "seen": self.seen, "refused": self.refused, "selected": self.selected, "asked": self.asked,
            "domains": self.domains,
            "synthesized": {
                "accepted": learning.synthesis.accepted, "rejected": learning.synthesis.rejected,
                "reasons": dict(learning.synthesis.dropped),
            },
            "trained_sets": learning.trained_sets, "gate_sets": learning.held_out_sets,
            "held_out_exchanges": len(self.held_out),
            "adapter": {
                "version": adapter["version"], "promoted": learning.verdict.promoted,
                "reason": learning.verdict.reason, "rank": adapter["rank"], "strength": learning.dose,
                "bytes": learning.adapter_bytes,
            },
            "gate": evidence.to_dict(), "plan": str(learning.plan), "training_losses": learning.losses,
            "seconds": {k: round(v, 2) for k, v in seconds.items()},
            "tokens_per_second": {k: round(n / seconds[k], 1) for k, n in tokens.items() if seconds.get(k)},
            "peak_rss_mb": peak_rss_mb(), "settings": self.settings,
        }


class Replay:
    """Plays `exchanges` through a runtime that was opened on an empty home with `calendar` as its clock."""

    def __init__(self, runtime: Runtime, calendar: Calendar, exchanges: list[Exchange], *, a_day=EXCHANGES_A_DAY, bars):
        if len(exchanges) < LEAST_EXCHANGES:
            raise UsageError(f"{len(exchanges)} exchanges are too few to learn from; give at least {LEAST_EXCHANGES}")
        if runtime.store.counter("seen"):
            raise UsageError(f"{runtime.store.home} holds a user's state already; replay into an empty --home")
        held = max(1, len(exchanges) // HELD_OUT_SHARE)
        self.stream, self.held_out = exchanges[:-held], exchanges[-held:]
        self.runtime, self.calendar, self.a_day, self.bars = runtime, calendar, a_day, bars
        self.references: dict[int, str] = {}
        self.report = ReplayReport(held_out=self.held_out)

    def run(self) -> ReplayReport:
        report, runtime = self.report, self.runtime
        report.settings = runtime.status()["settings"]
        with report.timed("measuring"):
            report.base = self._measure("before")
        self._play()
        report.learning = runtime.learn(bars=self.bars, embed_anew=False)  # nothing is observed after it
        with report.timed("measuring"):
            report.adapted = self._measure("after", report.base)
            if runtime.retrieval.has_any():
                report.with_retrieval = self._measure("retrieval", shown=[self._shown(e) for e in self.held_out])
        self._complete_losses()
        return report

    def _play(self) -> None:
        """The stream: a reply to each question, selection, and the day's questions to the user."""
        report, replaced = self.report, 0
        for number, (exchange, reply) in enumerate(self._replies()):
            self.calendar.at(number, self.a_day)
            with report.timed("selection"):
                try:
                    observation = self.runtime.observe(exchange.question, reply)
                except UsageError:  # a text too large for a bin
                    report.refused += 1
                    continue
            report.seen += 1
            if observation.offer.id is not None:
                self.references[observation.offer.id] = exchange.response
                replaced += observation.offer.replaced is not None
                report.selected += 1
            domain = observation.dialogue_set.domain
            report.domains[domain] = report.domains.get(domain, 0) + 1
            report.fill.append((number + 1, len(self.runtime.buffer), replaced))
            with report.timed("annotation"):
                self._ask()

    def _ask(self) -> None:
        """The reference response plays the user, as often as the user may be asked."""
        while (prompt := self.runtime.next_prompt()) is not None:
            self.runtime.queue.edit(prompt.id, self.references[prompt.dialogue_set_id])
            self.report.asked += 1

    def _replies(self):
        """The model's own replies, a batch at a time, in the order of the stream."""
        s, model, batch = self.runtime.settings, self.runtime.model, 32
        with self.bars("replying", len(self.stream)) as bar:
            for start in range(0, len(self.stream), batch):
                exchanges = self.stream[start : start + batch]
                with self.report.timed("replying"):
                    replies = model.generate(
                        [self._prompt(e) for e in exchanges], max_tokens=self._reply_tokens,
                        temperature=s.temperature, top_p=s.top_p,
                        seeds=[s.seed + start + i for i in range(len(exchanges))],
                        questions=[e.question for e in exchanges],
                    )
                self._count("replying", sum(len(reply.tokens) for reply in replies))
                bar(start + len(exchanges), f"{len(self.runtime.buffer)} kept")
                yield from zip(exchanges, replies)

    def _measure(self, when: str, base: Measure | None = None, shown: list[list[dict]] | None = None) -> Measure:
        """Loss in llama.cpp and ROUGE-1 on the held-out exchanges; the trainer's loss is added later.

        Where nothing was promoted the base still answers, and its measure stands for both. `shown`: turns before
        each of the questions.
        """
        model, s, shown = self.runtime.model, self.runtime.settings, shown or [[] for _ in self.held_out]
        if base is not None and model.adapter is None:
            return Measure(**vars(base))
        with self.bars(f"measuring {when}", len(self.held_out)) as bar:
            total, tokens = model.negative_log_likelihood(self._examples(shown))
            replies = model.generate(
                [self._prompt(e, turns) for e, turns in zip(self.held_out, shown)], max_tokens=self._reply_tokens,
                temperature=0.0, top_p=1.0, seeds=[s.seed] * len(self.held_out), progress=bar,
            )
        answers = [reply.text for reply in replies]
        scores = [rouge1(answer, e.response) for answer, e in zip(answers, self.held_out)]
        return Measure(None, total / tokens, sum(scores) / len(scores), tokens, answers)

    def _complete_losses(self) -> None:
        """The trainer's losses on the same held-out exchanges, with and without the adapter that serves."""
        examples, runtime = self._examples([[] for _ in self.held_out]), self.runtime
        with self.report.timed("measuring"), self.bars("measuring", 2) as bar:
            self.report.base.nll_trainer = runtime.trainer_loss(examples, None)
            bar(1)
            self.report.adapted.nll_trainer = runtime.trainer_loss(examples, runtime.adapters.current())
            bar(2)

    def _shown(self, exchange: Exchange) -> list[dict]:
        """The answered exchanges that a conversation which begins with this question shows."""
        self.runtime.new_conversation()
        return self.runtime.retrieved(exchange.question)

    def _examples(self, shown: list[list[dict]]):
        """Held-out exchanges as examples; turns shown before one do not take of its own tokens."""
        model, s = self.runtime.model, self.runtime.settings
        return [
            model.encode_exchange(
                e.question, e.response, system=s.system, shown=turns,
                longest=s.context_tokens if turns else s.example_tokens,
            )
            for e, turns in zip(self.held_out, shown)
        ]

    def _prompt(self, exchange: Exchange, shown: list[dict] = ()) -> list[int]:
        messages = conversation(exchange.question, self.runtime.settings.system, shown)
        return self.runtime.model.fitting(messages, self._reply_tokens, len(shown))[0]

    @property
    def _reply_tokens(self) -> int:
        return min(REPLY_TOKENS, self.runtime.settings.reply_tokens)

    def _count(self, stage: str, tokens: int) -> None:
        self.report.tokens[stage] = self.report.tokens.get(stage, 0) + tokens


def peak_rss_mb() -> float:
    """The process's peak resident memory in MB so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)


def replay(
    runtime_of: Callable[[Calendar], Runtime], exchanges: list[Exchange], bars, a_day: int = EXCHANGES_A_DAY
) -> ReplayReport:
    """Open a runtime on the replay's own clock and play the exchanges through it."""
    calendar = Calendar()
    with runtime_of(calendar) as runtime:
        return Replay(runtime, calendar, exchanges, a_day=a_day, bars=bars).run()
