"""Completions: replies that have an id, by which the user can say later what they were worth.

A completion whose exchange the buffer keeps is found as long as it is kept, also after a restart: the store has its id.
Others are found while this process runs and remembers them.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..dialogue import DialogueSet
from ..errors import UsageError
from ..selection.buffer import Buffer
from ..settings import Settings
from ..state import completion_records as records
from ..state import provenance
from ..state.annotation import AnnotationQueue
from ..state.store import Store

MOST_REMEMBERED = 256
Verdict = Literal["up", "down", "never_ask"]
VERDICTS: tuple[Verdict, ...] = ("up", "down", "never_ask")


@dataclass(frozen=True)
class Sampling:
    """How a reply is sampled; None takes the setting."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def options(self, settings: Settings, seed: int) -> dict[str, Any]:
        """As the model takes them; `seed` stands in for a missing one."""
        return {
            "max_tokens": self.tokens(settings),
            "temperature": settings.temperature if self.temperature is None else self.temperature,
            "top_p": settings.top_p if self.top_p is None else self.top_p,
            "seed": seed if self.seed is None else self.seed,
            "stop": self.stop,
        }

    def tokens(self, settings: Settings) -> int:
        """The longest reply. What a client asks for leaves half of the context to the conversation."""
        if self.max_tokens is None:
            return settings.reply_tokens
        return min(self.max_tokens, settings.context_tokens // 2)


@dataclass(frozen=True)
class Listener:
    """Who gets a reply while it is written, and may stop it."""

    on_text: Callable[[str], None] | None = None
    on_thought: Callable[[str], None] | None = None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Asker:
    """Whose message it is: the session, the origin (state/origins.py), the id of the completion, and the labels of the
    situation (labels.py)."""

    session: str
    origin: str
    completion: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Feedback:
    """What became of it: the dialogue set it is about, None where none is kept, and whether that has an answer now."""

    dialogue_set_id: int | None
    answered: bool


@dataclass
class Completions:
    """The completions of this process, by id: what was scored, with the id it is kept as. Thread-safe."""

    _known: OrderedDict[str, tuple[DialogueSet, int | None]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, id: str, scored: DialogueSet, kept_as: int | None) -> None:
        with self._lock:
            self._known[id] = scored, kept_as
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)

    def get(self, id: str) -> tuple[DialogueSet | None, int | None]:
        with self._lock:
            return self._known.get(id, (None, None))

    def begin_anew(self) -> None:
        """Forget all texts."""
        with self._lock:
            self._known.clear()


def new_id(kind: str = "chatcmpl") -> str:
    """A completion's id; nobody can guess it."""
    return f"{kind}-{secrets.token_urlsafe(16)}"


@dataclass(frozen=True)
class Judgement:
    """Takes feedback about completions into buffer and queue."""

    store: Store
    buffer: Buffer
    queue: AnnotationQueue
    completions: Completions
    origin: str

    def give(self, id: str, verdict: Verdict) -> Feedback:
        """Up: the reply is the answer. Down: it is not, and the question is asked once more. UsageError for an
        unknown id."""
        scored, kept_as = self._found(id)
        if verdict == "up":
            reply = self._reply(scored, kept_as).reply
            if not reply.strip():
                raise UsageError("the reply is empty; give a better one")
            return self._answer(id, scored, kept_as, reply, by_model=True)
        if verdict == "never_ask":
            self.queue.never_ask_question(self._reply(scored, kept_as).question)
            return Feedback(None, False)
        return Feedback(kept_as, kept_as is not None and self.queue.reject(kept_as))

    def correct(self, id: str, text: str) -> Feedback:
        """The better text is the answer. UsageError for an unknown id, or an empty text."""
        if not text.strip():
            raise UsageError("an empty answer; write the better one, or give no text")
        return self._answer(id, *self._found(id), text.strip(), by_model=False)

    def prefer(self, id: str, over: str) -> Feedback:
        """Of two completions of one question, the better one is the answer, at the weight `choice_weight`.

        UsageError for an unknown id, for one completion twice, and for completions of different questions.
        """
        (scored, kept_as), (other, other_kept_as) = self._found(id), self._found(over)
        better, worse = self._reply(scored, kept_as), self._reply(other, other_kept_as)
        if better.question != worse.question:
            raise UsageError("the two completions answer different questions; name two of the same")
        if id == over or better.reply == worse.reply:
            raise UsageError("the two completions are the same; name two that differ")
        with self.store.transaction():
            kept_as = kept_as or other_kept_as or self._keep(id, better)
            for each in (better, worse):  # the words of both are kept
                provenance.check_not_forgotten(self.store, each.provenance)
                provenance.record(self.store, kept_as, each.provenance)
            self.queue.choose(kept_as, better.reply, worse.reply, self.origin)
        return Feedback(kept_as, True)

    def _reply(self, scored: DialogueSet | None, kept_as: int | None) -> DialogueSet:
        return scored or self.buffer.get(kept_as or 0)

    def _keep(self, id: str, scored: DialogueSet) -> int:
        """Keep what the buffer had not; the completion is known by it from now on."""
        kept_as = self.buffer.keep(scored)
        records.record(self.store, id, kept_as)
        return kept_as

    def _found(self, id: str) -> tuple[DialogueSet | None, int | None]:
        """What was scored, if this process remembers it, and the id of the set, if the buffer keeps it."""
        scored, kept_as = self.completions.get(id)
        kept_as = records.set_of(self.store, id) or kept_as
        if kept_as is not None and kept_as not in self.buffer:
            kept_as = None
        if scored is None and kept_as is None:
            raise UsageError(f"no completion {id[:40]!r}; it is unknown, forgotten, or was answered too long ago")
        return scored, kept_as

    def _answer(self, id: str, scored: DialogueSet | None, kept_as: int | None, text: str, by_model: bool) -> Feedback:
        with self.store.transaction():
            if kept_as is None:
                assert scored is not None
                provenance.check_not_forgotten(self.store, scored.provenance)
                kept_as = self._keep(id, scored)
            elif by_model and scored is not None:  # a later reply to the same question has sources of its own
                provenance.record(self.store, kept_as, scored.provenance)
            self.queue.answer_set(kept_as, text, self.origin, accepted=by_model)
        return Feedback(kept_as, True)
