"""Learning in the runtime: a training run, a slice of it, and which adapter serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..dialogue import DialogueSet, TokenEmbeddings
from ..errors import UsageError
from ..learning.adoption import adopt
from ..learning.cancellation import Cancellation
from ..learning.gate import Verdict
from ..learning.monitoring import Comparison, monitor_adapter
from ..learning.outcome import Outcome, SliceOutcome
from ..learning.pipeline import TrainingPipeline
from ..learning.refresh import refresh
from ..learning.report import TrainingReport
from ..learning.second_replies import Write, write_second_replies
from ..learning.serving import serve, with_sound_adapter
from ..learning.stages.promote import note_learned, record
from ..model.base_model import BaseModel
from ..progress import Bars
from ..schedule.lock import learner_lock
from ..state.adapter_records import AdapterVersion
from ..state.files import ADOPTED
from ..state.store import Store
from .parts import Parts


@dataclass(frozen=True)
class Learner:
    """Trains, judges and serves adapters. Each method is described where `Runtime` offers it."""

    store: Store
    model: BaseModel
    parts: Parts
    write_second: Write  # another reply to a buffered question

    def pipeline(self) -> TrainingPipeline:
        parts = self.parts
        return TrainingPipeline(self.store, parts.buffer, parts.adapters, self.model, parts.settings)

    def run(self, cancellation: Cancellation, bars: Bars, embed_anew: bool = True) -> TrainingReport:
        """A training run, for a caller that holds the learner's lock."""
        self.monitor_adapter(cancellation)
        self.model.clear()  # the conversation goes on afterwards; its KV cache is the earlier adapter's
        serving = self.model.adapter
        report = self.pipeline().run(cancellation, bars)
        if embed_anew and self.model.adapter != serving:
            self.refresh_embeddings(bars, cancellation)
        return report

    def slice(self, cancellation: Cancellation, bars: Bars) -> SliceOutcome:
        if not self.refresh_embeddings(bars, cancellation):
            return SliceOutcome.unfinished("embedding the buffer anew")
        self.monitor_adapter(cancellation)
        if self.parts.scheduler.nothing_to_learn():
            if not self.write_second_replies(bars, cancellation):
                return SliceOutcome.unfinished("second replies")
            return SliceOutcome(Outcome.REFRESHED, "embeddings and second replies are up to date")
        if cancellation.requested():
            return SliceOutcome.unfinished("adapter monitoring")
        report = self.run(cancellation, bars)
        if report.verdict is None:
            return SliceOutcome.unfinished(report.stage)
        outcome = report.verdict.outcome
        return SliceOutcome(outcome, f"{outcome.value}: {report.verdict.reason}")

    def monitor_adapter(self, cancellation: Cancellation) -> Comparison | None:
        return monitor_adapter(self.model, self.parts.adapters, self.parts.buffer, self.parts.settings, cancellation)

    def refresh_embeddings(self, bars: Bars, cancellation: Cancellation) -> bool:
        parts = self.parts

        def embed(kept: DialogueSet) -> TokenEmbeddings:
            return self.model.embed_exchange(kept.question, kept.reply, parts.settings.system)

        def refresh_all() -> bool:
            return refresh(self.store, parts.buffer, embed, parts.settings.eoe_reading, cancellation, bars)

        return with_sound_adapter(self.model, parts.adapters, refresh_all)

    def write_second_replies(self, bars: Bars, cancellation: Cancellation) -> bool:
        """To the next questions, where they are to offer two; False when cancelled."""
        parts = self.parts

        def write_all() -> bool:
            return write_second_replies(self.store, parts.buffer, parts.settings, self.write_second, cancellation, bars)

        return with_sound_adapter(self.model, parts.adapters, write_all)

    def rollback(self) -> AdapterVersion | None:
        current, before = self.parts.adapters.current(), self.parts.adapters.rollback()
        if current is not None and current.adopted:
            self._drop_adopted_copy()  # training must not start from it either
        serve(self.model, self.parts.adapters)
        return before

    def adopt(self, path: Path) -> AdapterVersion:
        with learner_lock(self.store.home):
            adapter = adopt(path, self.model, self.parts.adapters, self.parts.settings)
        self._drop_adopted_copy()  # training starts from this one now
        return adapter

    def promote(self, version: int) -> AdapterVersion:
        adapters, waiting = self.parts.adapters, self.parts.adapters.held_back()
        if waiting is None or waiting.version != version:
            hint = f"adapter {waiting.version} does" if waiting else "none does"
            raise UsageError(f"adapter {version} does not wait to be promoted; {hint}")
        with learner_lock(self.store.home), self.store.transaction():
            reason = f"promoted by hand; {waiting.reason.partition(':')[0]}"
            adapters.promote(version, waiting.losses, reason)
            note_learned(self.store, self.parts.buffer, waiting.dialogue_set_ids, version)
            record(self.store, version, Verdict(True, reason))
        serve(self.model, adapters)
        return adapters.get(version)

    def _drop_adopted_copy(self) -> None:
        """Remove the adopted adapter's file as an earlier version of the program kept it."""
        (self.store.home / ADOPTED).unlink(missing_ok=True)
