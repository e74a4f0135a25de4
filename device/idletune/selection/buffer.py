"""The buffer: a fixed number of dialogue sets, selected by a policy from the user's stream.

- The database is the truth. What a policy needs (embeddings, domains, scores) is mirrored in memory and
  brought up to date by one short query at each call, so that answers, training, forgetting and other
  processes may change the database without telling the buffer.
- Admitting a set and counting it as seen are one transaction: random policies draw from that count.
- Two kinds of set are never evicted: answered by the user but not learned from yet (his work would be lost),
  and the one the user is being asked about right now. Answered ones that were learned from are evicted last.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from ..dialogue import DialogueSet, Scores, TokenEmbeddings
from ..errors import DamagedDataError, UsageError
from ..state import dialogue_sets, provenance, set_labels
from ..state.bins import BIN_BYTES, check_bin, size_of_embeddings
from ..state.dialogue_sets import DialogueSetRow
from ..state.store import Store
from .mirror import BufferMirror, question_embedding
from .policies import REJECT, BufferView, Policy
from .scores import entropy_of_embedding, text_embedding


@dataclass(frozen=True)
class AdmissionResult:
    """The id under which a candidate was stored, None if it was rejected, and the id of the evicted set, if any."""

    id: int | None = None
    evicted: int | None = None

    @property
    def action(self) -> str:
        """What clients of the RPC see: "kept", "replaced" or "dropped"."""
        return "dropped" if self.id is None else "kept" if self.evicted is None else "replaced"


class Buffer:
    """The buffered dialogue sets. `hidden` is the length of the base model's embeddings.

    A lowered capacity deletes nothing: the buffer stays over it until sets are removed.
    """

    def __init__(self, store: Store, policy: Policy, capacity: int = 128, bin_bytes: int = BIN_BYTES, *, hidden: int):
        if capacity < 1:
            raise UsageError(f"a buffer with a capacity of {capacity} holds nothing; use 1 or more")
        taken = size_of_embeddings(hidden)
        if bin_bytes <= taken:
            raise UsageError(f"embeddings take {taken} of the {bin_bytes} bytes of a dialogue set; raise bin_bytes")
        self.capacity, self.bin_bytes, self.hidden = capacity, bin_bytes, hidden
        self._store, self._policy = store, policy
        self._mirror = BufferMirror(capacity, hidden)
        self._mirrored: tuple[int, int, int] | None = None  # what the mirror holds, see _synced
        self._synced()

    def admit(self, dialogue_set: DialogueSet, share: float | None = None) -> AdmissionResult:
        """Let the policy decide about a candidate. Its IDD has to be fresh; its id and tags are not kept.

        With `share`, the sets of its origin may fill that part of the capacity. Once they do, the policy sees these
        alone, so that a new one evicts no set of another origin.
        Raises UsageError for a set that is too large (`bin_bytes`); such a one does not count as seen.
        """
        self._check_embedding(dialogue_set.embedding)
        self._check_rest(dialogue_set)
        with self._store.transaction():
            view = self._view_for(dialogue_set.origin, share)
            decision = self._policy.decide(dialogue_set, view) if view.capacity else REJECT
            self._store.count("seen")
            if not decision.admitted:
                return AdmissionResult()
            if decision.evicts is not None:
                assert decision.evicts not in _protected_ids(view), "a policy evicted a protected set"
                dialogue_sets.delete(self._store, [decision.evicts])
            id = dialogue_sets.insert(self._store, self._row(dialogue_set))
            self._record_beside(id, dialogue_set)
            return AdmissionResult(id, decision.evicts)

    def keep(self, dialogue_set: DialogueSet) -> int:
        """Store a set that the user answers, whatever the policy says; returns its id.

        In a full buffer the oldest set that may be evicted goes; where there is none, it grows over its capacity.
        """
        self._check_embedding(dialogue_set.embedding)
        self._check_rest(dialogue_set)
        with self._store.transaction():
            view = self._view_for(dialogue_set.origin, None)
            evictable = view.evictable() if view.full else np.empty(0, int)
            dialogue_sets.delete(self._store, [view.ids[row] for row in evictable[:1]])
            id = dialogue_sets.insert(self._store, self._row(dialogue_set))
            self._record_beside(id, dialogue_set)
            return id

    def sets(self) -> list[DialogueSet]:
        """All sets, oldest first. Their tags tell `answered_at`, `learned_in` and `held_out`."""
        return [self._parse(row) for row in dialogue_sets.all_sets(self._store)]

    def get(self, id: int) -> DialogueSet:
        """One set. Raises UsageError for an id that is not in the buffer."""
        row = dialogue_sets.find(self._store, id)
        if row is None:
            raise UsageError(f"no dialogue set {id} in the buffer; it was replaced, removed or never kept")
        return self._parse(row)

    def __contains__(self, id: int) -> bool:
        return dialogue_sets.exists(self._store, id)

    def embeddings(self, domain: str | None = None) -> np.ndarray:
        """A copy of the embeddings, float32 (n, hidden): all, or one domain's (for a new set's IDD)."""
        with self._store.transaction():
            mirror = self._synced()
            chosen = [row for row, name in enumerate(mirror.domains) if domain in (None, name)]
            return mirror.embeddings[chosen]

    def nearest(self, question: np.ndarray, k: int) -> list[tuple[int, float]]:
        """Ids and cosines of the k sets whose questions are nearest to one, best first; fewer when there are fewer.

        `question` is its embedding, float32 (hidden,); the cosines are of standardized embeddings.
        """
        with self._store.transaction():
            ids, similarities = self._synced().nearest(question, k)
            return list(zip(ids.tolist(), similarities.tolist()))

    def snapshot(self) -> AbstractContextManager:
        """A block in which no other process changes what is read."""
        return self._store.snapshot()

    def answer_times(self) -> dict[int, float | None]:
        """When each set was answered, by id; None for one that was not."""
        return dialogue_sets.answer_times(self._store)

    def labels(self) -> dict[int, dict[str, str]]:
        """The labels of the sets that have some, by id."""
        return set_labels.by_set(self._store)

    def text_version(self) -> tuple[int, int]:
        """Changes when texts held in memory must be dropped: after a rollback, and when a set was forgotten."""
        return self._store.rollbacks, self._store.counter("forgotten")

    def remove(self, id: int) -> None:
        """Delete a set, its open prompt and its synthetic sets. Raises UsageError for an unknown id."""
        with self._store.transaction():
            self.get(id)
            dialogue_sets.delete(self._store, [id])

    def refresh(self, id: int, embeddings: TokenEmbeddings, reading: str = "token") -> None:
        """Take a set's embeddings from the model as it is now, so that all sets stay comparable.

        Its embeddings and EOE change; DSS does not depend on the model, and the policies compute IDD anew.
        """
        embedding, question = text_embedding(embeddings.both), text_embedding(embeddings.question)
        self._check_embedding(embedding)
        eoe = entropy_of_embedding(embeddings.both, reading)
        vectors = embedding.astype("<f4").tobytes(), question.astype("<f2").tobytes()
        with self._store.transaction():
            self.get(id)
            dialogue_sets.replace_embeddings(self._store, id, *vectors, eoe)
            self._store.count("refreshed")

    def hold_out(self, ids: Iterable[int], held_out: bool = True) -> None:
        """Keep answered sets out of training, to judge an adapter by them; or give them back."""
        dialogue_sets.hold_out(self._store, ids, held_out)

    def mark_learned(self, ids: Iterable[int], version: int) -> None:
        """Note the adapter that a training run made of these sets (held-out ones too): they may be evicted now."""
        dialogue_sets.mark_learned(self._store, ids, version)

    def __len__(self) -> int:
        return dialogue_sets.count(self._store)

    def answered(self) -> int:
        """How many of the sets the user has answered."""
        return dialogue_sets.count_answered(self._store)

    def _view_for(self, origin: str, share: float | None) -> BufferView:
        """What the policy sees: all sets, or those of an origin whose share of the capacity is full."""
        mirror, seen = self._synced(), self._store.counter("seen")
        if share is not None:
            own, most = mirror.of_origin(origin), int(share * self.capacity)
            if len(own) >= most:
                return mirror.view(most, seen, own)
        return mirror.view(self.capacity, seen)

    def _record_beside(self, id: int, new: DialogueSet) -> None:
        """What is kept of a new set beside its row."""
        provenance.record(self._store, id, new.provenance)
        set_labels.record(self._store, id, new.labels)

    def _check_embedding(self, embedding: np.ndarray) -> None:
        assert embedding.shape == (self.hidden,), f"({self.hidden},) is expected, not {embedding.shape}"
        assert np.isfinite(embedding).all(), "an embedding with NaN or infinity has no neighbours"

    def _check_rest(self, dialogue_set: DialogueSet) -> None:
        scores = dialogue_set.scores
        assert np.isfinite([scores.eoe, scores.dss, scores.idd]).all(), f"scores must be finite: {scores}"
        check_bin((dialogue_set.question, dialogue_set.reply), size_of_embeddings(self.hidden), self.bin_bytes)
        if dialogue_set.response is not None:
            check_bin((dialogue_set.question, dialogue_set.response), size_of_embeddings(self.hidden), self.bin_bytes)

    def _row(self, new: DialogueSet) -> DialogueSetRow:
        now, scores = self._store.clock(), new.scores
        return DialogueSetRow(
            id=0,
            created=float(new.created or now),
            domain=new.domain,
            eoe=float(scores.eoe),  # SQLite takes Python's numbers only
            dss=float(scores.dss),
            idd=float(scores.idd),
            answered_at=None if new.response is None else now,
            learned_in=None,
            held_out=False,
            adapter_version=new.provenance.adapter_version,
            embedding=new.embedding.astype("<f4").tobytes(),
            question_embedding=question_embedding(new).astype("<f2").tobytes(),
            question=new.question,
            reply=new.reply,
            response=new.response,
            origin=new.origin,
            answer_origin=new.answer_origin,
        )

    def _synced(self) -> BufferMirror:
        """The mirror, brought up to date.

        It starts anew after a rollback, for an id may have been taken back, after a refresh, and after a set was
        forgotten: its embeddings must not stay in memory.
        """
        with self._store.transaction():
            current = self._store.rollbacks, self._store.counter("refreshed"), self._store.counter("forgotten")
            if self._mirrored != current:
                self._mirror, self._mirrored = BufferMirror(self.capacity, self.hidden), current
            states, mirror = dialogue_sets.states(self._store), self._mirror
            for id in [id for id in mirror.ids if id not in states]:
                mirror.remove(id)
            for id in [id for id in states if id not in mirror.row_of]:
                mirror.add(id, self.get(id))
            mirror.states[: len(states)] = np.reshape([states[id] for id in mirror.ids], (-1, 2))
            return mirror

    def _parse(self, row: DialogueSetRow) -> DialogueSet:
        question = None
        if row.question_embedding is not None:
            question = self._vector(row.id, row.question_embedding, "<f2")
        return DialogueSet(
            row.question,
            row.reply,
            row.domain,
            self._vector(row.id, row.embedding, "<f4"),
            Scores(row.eoe, row.dss, row.idd),
            row.id,
            row.response,
            row.created,
            {"answered_at": row.answered_at, "learned_in": row.learned_in, "held_out": bool(row.held_out)},
            question,
            origin=row.origin,
            answer_origin=row.answer_origin,
        )

    def _vector(self, id: int, data: bytes, kind: str) -> np.ndarray:
        size = np.dtype(kind).itemsize
        if len(data) != size * self.hidden:
            raise UsageError(
                f"dialogue set {id} has an embedding of {len(data) // size} values, the base model"
                f" gives {self.hidden}; use the model it came from, or another home"
            )
        vector = np.frombuffer(data, kind).astype(np.float32)
        if not np.isfinite(vector).all():
            raise DamagedDataError(f"dialogue set {id} has a broken embedding; delete the set")
        return vector


def _protected_ids(view: BufferView) -> set[int]:
    return {id for id, protected in zip(view.ids, view.protected) if protected}
