"""What a replay found."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..dialogue import Exchange
from ..errors import UsageError
from ..learning.gate import Evidence, Verdict
from ..learning.report import TrainingReport
from ..learning.synthesis import SynthesisReport
from ..state.adapter_records import AdapterVersion
from ..training.plan import MemoryPlan


@dataclass(frozen=True)
class Measure:
    """Held-out quality in llama.cpp: mean loss in nats per token, ROUGE-1 F of greedy answers.

    `tokens` are those of the losses; `answers` are the greedy answers, to the first questions that were held out.
    """

    nll_llama_cpp: float
    rouge1: float
    tokens: int
    answers: list[str] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The losses and scores, and the number of answers."""
        return {
            "nll_trainer": None,
            "nll_llama_cpp": self.nll_llama_cpp,
            "rouge1": self.rouge1,
            "tokens": self.tokens,
            "answers": len(self.answers),
        }


@dataclass(frozen=True)
class BothEngines(Measure):
    """The same with the trainer's loss, which there is without retrieval only."""

    nll_trainer: float

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "nll_trainer": self.nll_trainer}


@dataclass
class Played:
    """What happened to the exchanges of the stream."""

    seen: int = 0
    refused: int = 0  # too large for the buffer
    asked: int = 0
    selected: int = 0
    fill: list[tuple[int, int, int]] = field(default_factory=list)  # exchanges seen, kept, replaced so far
    domains: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """A training run that reached the gate."""

    trained_sets: int
    held_out_sets: int
    synthesis: SynthesisReport
    plan: MemoryPlan
    losses: list[float]
    tokens: int
    adapter_scale: float
    evidence: Evidence
    verdict: Verdict
    adapter: AdapterVersion
    adapter_bytes: int
    seconds: dict[str, float]

    @classmethod
    def of(cls, report: TrainingReport) -> Learned:
        """UsageError for a run that was stopped before the gate."""
        if report.evidence is None or report.verdict is None or report.adapter is None or report.plan is None:
            raise UsageError(f"learning stopped during {report.stage}, a dialogue set was forgotten; replay again")
        return cls(
            report.trained_sets,
            report.held_out_sets,
            report.synthesis,
            report.plan,
            report.losses,
            report.tokens,
            report.adapter_scale,
            report.evidence,
            report.verdict,
            report.adapter,
            report.adapter_bytes,
            report.seconds,
        )


@dataclass(frozen=True)
class ReplayReport:
    """Everything a replay found; `to_dict` is what `--json` writes."""

    base: BothEngines
    adapted: BothEngines
    with_retrieval: Measure | None  # as the user gets it: nearest answers before the question; llama.cpp alone
    held_out: list[Exchange]
    played: Played
    learned: Learned
    seconds: Mapping[str, float]  # by stage
    tokens: Mapping[str, int]  # by stage
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        played, learned = self.played, self.learned
        return {
            "base": self.base.to_dict(),
            "adapted": self.adapted.to_dict(),
            "with_retrieval": self.with_retrieval.to_dict() if self.with_retrieval else None,
            "general_probe": {"base": learned.evidence.probe_base, "adapted": learned.evidence.probe_adapted},
            "seen": played.seen,
            "refused": played.refused,
            "selected": played.selected,
            "asked": played.asked,
            "domains": played.domains,
            "synthesized": _synthesized(learned.synthesis),
            "trained_sets": learned.trained_sets,
            "gate_sets": learned.held_out_sets,
            "held_out_exchanges": len(self.held_out),
            "adapter": _adapter(learned),
            "gate": learned.evidence.to_dict(),
            "plan": str(learned.plan),
            "training_losses": learned.losses,
            "seconds": {stage: round(seconds, 2) for stage, seconds in self.seconds.items()},
            "tokens_per_second": self.tokens_per_second(),
            "peak_rss_mb": peak_rss_mb(),
            "settings": self.settings,
        }

    def tokens_per_second(self) -> dict[str, float]:
        """By stage, of the stages that count tokens."""
        return {stage: round(n / self.seconds[stage], 1) for stage, n in self.tokens.items() if self.seconds.get(stage)}


def peak_rss_mb() -> float:
    """The process's peak resident memory in MB so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)


def _synthesized(synthesis: SynthesisReport) -> dict[str, Any]:
    return {
        "accepted": synthesis.accepted,
        "rejected": synthesis.rejected,
        "reasons": dict(synthesis.dropped),
    }


def _adapter(learned: Learned) -> dict[str, Any]:
    return {
        "version": learned.adapter.version,
        "promoted": learned.verdict.promoted,
        "reason": learned.verdict.reason,
        "rank": learned.adapter.rank,
        "strength": learned.adapter_scale,
        "bytes": learned.adapter_bytes,
    }
