"""What a call of the training pipeline did."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..state.adapter_records import AdapterVersion
from ..training.plan import MemoryPlan
from .gate import Evidence, Verdict
from .synthesis import SynthesisReport


@dataclass
class TrainingReport:
    """`finished` is False when it was cancelled before the verdict, in `stage`."""

    finished: bool = False
    stage: str = ""
    trained_sets: int = 0
    held_out_sets: int = 0
    duplicates: int = 0  # answered sets left out, for another one says nearly the same
    synthesis: SynthesisReport = field(default_factory=SynthesisReport)
    plan: MemoryPlan | None = None
    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    adapter_scale: float = 1.0  # relative to alpha / rank as trained
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    adapter: AdapterVersion | None = None
    adapter_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        self.stage, start = stage, time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start
