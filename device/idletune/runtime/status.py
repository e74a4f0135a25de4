"""The status page's facts, as plain values that become JSON."""

from dataclasses import asdict
from typing import Any, TypedDict

from ..learning.adapters import describe
from ..learning.answered import answered_sets, trainable_sets
from ..state.home import stored_bytes
from ..state.store import Store
from ..state.verdicts import VerdictRow, dropped_since_verdict, newest_verdict
from .parts import Parts


class BufferStatus(TypedDict):
    """How full the buffer is; `seen` counts all exchanges ever offered."""

    kept: int
    bins: int
    seen: int


class AnsweredStatus(TypedDict):
    """Dialogue sets with the user's answer; how many of them are a reply of the model, found good or chosen, and train
    nothing (choice_weight); and of the others, how many no training run has used yet."""

    sets: int
    accepted: int
    not_yet_learned: int


class PromptStatus(TypedDict):
    """Open questions to the user, and how many were asked today."""

    waiting: int
    asked_today: int


class Status(TypedDict):
    """What `Runtime.status` returns. Times are seconds since 1970."""

    home: str
    encrypted: bool
    quantized_mb: float  # files of int8 weights: nothing of the user's, removed when storage is short
    model: str
    policy: str
    buffer: BufferStatus
    answered: AnsweredStatus
    unobserved: str  # why the last exchange could not be observed, or ""
    prompts: PromptStatus
    adapter: dict[str, Any] | None  # the one that serves
    held_back: dict[str, Any] | None  # the one that waits for a decision of the user
    dropped: dict[str, Any] | None  # the one that was dropped as broken since the last training run
    learning: dict[str, Any]  # see Scheduler.status
    retrain_owed: bool
    last_learned: dict[str, Any] | None  # the gate's last verdict
    settings: dict[str, Any]


def status_of(store: Store, model_path: str, parts: Parts, unobserved: str) -> Status:
    """Read the status from the store; nothing is changed."""
    answered = answered_sets(parts.buffer)
    trainable = trainable_sets(store, parts.buffer, parts.settings)
    verdict = newest_verdict(store)
    return {
        "home": str(store.home),
        "encrypted": store.encrypted,
        "quantized_mb": round(stored_bytes(store.home) / 1e6, 1),
        "model": model_path,
        "policy": parts.settings.policy,
        "buffer": {"kept": len(parts.buffer), "bins": parts.settings.buffer_capacity, "seen": store.counter("seen")},
        "answered": {
            "sets": len(answered),
            "accepted": len(answered) - len(trainable),
            "not_yet_learned": sum(s.learned_in is None for s in trainable),
        },
        "unobserved": unobserved,
        "prompts": {"waiting": len(parts.queue.pending()), "asked_today": parts.queue.asked_today()},
        "adapter": describe(parts.adapters.current()),
        "held_back": describe(parts.adapters.held_back()),
        "dropped": _dropped(store),
        "learning": parts.scheduler.status(),
        "retrain_owed": store.counter("retrain_owed") > 0,
        "last_learned": _told(verdict) if verdict else None,
        "settings": asdict(parts.settings),
    }


def _dropped(store: Store) -> dict[str, Any] | None:
    """The adapter that was dropped last, unless a later one has been judged."""
    dropped = dropped_since_verdict(store)
    return asdict(dropped) if dropped else None


def _told(verdict: VerdictRow) -> dict[str, Any]:
    return {name: value for name, value in asdict(verdict).items() if name != "id"}
