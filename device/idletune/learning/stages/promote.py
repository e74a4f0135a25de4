"""Stage promote: the gate's verdict on a candidate is carried out and recorded, in one transaction."""

from ...selection.buffer import Buffer
from ...state.adapter_records import AdapterVersion
from ...state.run_records import TrainingRun
from ...state.set_records import mark_embeddings_due
from ...state.store import Store
from ...state.verdicts import record_verdict
from ..gate import Evidence, Verdict, judge
from .context import Context


def promote(
    context: Context, run: TrainingRun, adapter: AdapterVersion, evidence: Evidence, learned: list[int]
) -> Verdict:
    """Promote, hold back or reject the candidate, and finish the run; `learned` are the ids of its sets."""
    settings = context.settings
    verdict = judge(
        evidence,
        probe_tolerance=settings.probe_tolerance,
        engine_tolerance=settings.engine_tolerance,
        suspicious_fall=settings.suspicious_fall,
        version=adapter.version,
    )
    adapters = context.adapters
    decide = adapters.promote if verdict.promoted else adapters.hold_back if verdict.suspicious else adapters.reject
    with context.store.transaction():  # a kill in between must not leave a verdict on a run that goes on
        decide(adapter.version, evidence.to_dict(), verdict.reason)
        if verdict.promoted:
            note_learned(context.store, context.buffer, learned, adapter.version)
        run.finish()
        context.store.reset("retrain_owed")
        record(context.store, adapter.version, verdict)
    return verdict


def note_learned(store: Store, buffer: Buffer, ids: list[int], version: int) -> None:
    """In the transaction that promotes a version: its sets are learned, and all have to be embedded anew."""
    buffer.mark_learned(ids, version)
    mark_embeddings_due(store)


def record(store: Store, version: int, verdict: Verdict) -> None:
    """Keep the verdict on a version; in the transaction that carries it out."""
    record_verdict(store, version, verdict.promoted, verdict.suspicious, verdict.reason)
