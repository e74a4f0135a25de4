"""The buffer: a fixed number of bins for the most telling dialogue sets of the user's stream.

- The database is the truth. What a policy looks at (embeddings, domains, scores) is mirrored in memory and
  brought up to date by one short query at each call, so that answers, training, forgetting and other
  processes may change the database without telling the buffer.
- Placing a set and counting it as seen are one transaction: random policies draw from that count.
- Two kinds of set are never replaced: answered but not learned from yet (the user's work would be lost),
  and the one the user is being asked about right now. Answered ones that were learned from go last.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..dialogue import DialogueSet, Scores, TokenEmbeddings
from ..errors import DamagedDataError, UsageError
from ..state.store import BIN_BYTES, Store, check_bin, size_of_embeddings
from .index import StandardizedIndex
from .policies import BufferView, Policy
from .scores import entropy_of_embedding, text_embedding

_STATES = """
    SELECT id, answered_at IS NOT NULL AS answered, (answered_at IS NOT NULL AND learned_in IS NULL) OR EXISTS (
        SELECT 1 FROM prompts WHERE dialogue_set_id = dialogue_sets.id AND state = 'shown'
    ) AS protected FROM dialogue_sets ORDER BY id"""
_INSERT = """
    INSERT INTO dialogue_sets
        (id, created, domain, eoe, dss, idd, answered_at, embedding, question_embedding, question, reply, response)
    VALUES (:id, :created, :domain, :eoe, :dss, :idd, :answered_at, :embedding, :question_embedding, :question, :reply,
        :response)"""
_REFRESH = """
    UPDATE dialogue_sets SET embedding = :embedding, question_embedding = :question_embedding, eoe = :eoe
    WHERE id = :id"""
_DELETE = "DELETE FROM dialogue_sets WHERE id = ?"


@dataclass(frozen=True)
class Offer:
    """What became of an offered set: the id it is kept under and the id it replaced, each or none."""

    id: int | None = None
    replaced: int | None = None

    @property
    def action(self) -> str:
        return "dropped" if self.id is None else "kept" if self.replaced is None else "replaced"


class Buffer:
    """The buffered dialogue sets. `hidden` is the length of the base model's embeddings.

    A lowered capacity deletes nothing: the buffer stays over it until sets are removed.
    """

    def __init__(
        self, store: Store, policy: Policy, capacity: int = 128, bin_bytes: int = BIN_BYTES, *, hidden: int
    ):
        if capacity < 1:
            raise UsageError(f"a buffer of {capacity} bins holds nothing; use 1 or more")
        taken = size_of_embeddings(hidden)
        if bin_bytes <= taken:
            raise UsageError(f"embeddings take {taken} of a bin's {bin_bytes} bytes; use larger bins")
        self.capacity, self.bin_bytes, self.hidden = capacity, bin_bytes, hidden
        self._store, self._policy = store, policy
        self._stamp = None
        self._synced()

    def offer(self, dialogue_set: DialogueSet) -> Offer:
        """Let the policy place a set. Its IDD has to be fresh; its id and tags are not kept.

        Raises UsageError for a set that does not fit a bin; such a one does not count as seen.
        """
        self._check_embedding(dialogue_set.embedding)
        self._check_rest(dialogue_set)
        with self._store.transaction() as db:
            view = self._synced().view(self.capacity, self._store.counter("seen"))
            placement = self._policy.place(dialogue_set, view)
            self._store.count("seen")
            if placement.action == "drop":
                return Offer()
            if placement.replaces is not None:
                assert placement.replaces not in _protected_ids(view), "a policy replaced a protected set"
                db.execute(_DELETE, (placement.replaces,))
            values = self._values(dialogue_set, self._store.next_id("dialogue_sets"))
            db.execute(_INSERT, values)
            return Offer(values["id"], placement.replaces)

    def sets(self) -> list[DialogueSet]:
        """All sets, oldest first. Their tags tell `answered_at`, `learned_in` and `held_out`."""
        return [self._parse(row) for row in self._store.rows("SELECT * FROM dialogue_sets ORDER BY id")]

    def get(self, id: int) -> DialogueSet:
        """One set. Raises UsageError for an id that is not in the buffer."""
        row = self._store.row("SELECT * FROM dialogue_sets WHERE id = ?", id)
        if row is None:
            raise UsageError(f"no dialogue set {id} in the buffer; it was replaced, removed or never kept")
        return self._parse(row)

    def __contains__(self, id: int) -> bool:
        return self._store.row("SELECT 1 FROM dialogue_sets WHERE id = ?", id) is not None

    def embeddings(self, domain: str | None = None) -> np.ndarray:
        """A copy of the embeddings, float32 (n, hidden): all, or one domain's (for a new set's IDD)."""
        with self._store.transaction():
            rows = self._synced()
            chosen = [row for row, name in enumerate(rows.domains) if domain in (None, name)]
            return rows.embeddings[chosen]

    def nearest(self, question: np.ndarray, k: int) -> list[tuple[DialogueSet, float]]:
        """The k sets whose questions are nearest to one, best first; fewer when there are fewer.

        `question` is its embedding, float32 (hidden,); the cosines are of standardized embeddings.
        """
        with self._store.transaction():  # no other process may remove what was found
            ids, similarities = self._synced().nearest(question, k)
            return [(self.get(int(id)), float(cosine)) for id, cosine in zip(ids, similarities)]

    def remove(self, id: int) -> None:
        """Delete a set, its open prompt and its synthetic sets. Raises UsageError for an unknown id."""
        with self._store.transaction() as db:
            self.get(id)
            db.execute(_DELETE, (id,))

    def refresh(self, id: int, embeddings: TokenEmbeddings, reading: str = "token") -> None:
        """Take a set's embeddings from the model as it is now, so that all sets stay comparable.

        Its embeddings and EOE change; DSS does not depend on the model, and the policies compute IDD anew.
        """
        embedding, question = text_embedding(embeddings.both), text_embedding(embeddings.question)
        self._check_embedding(embedding)
        eoe = entropy_of_embedding(embeddings.both, reading)
        with self._store.transaction() as db:
            self.get(id)
            values = {
                "embedding": embedding.astype("<f4").tobytes(), "question_embedding": question.astype("<f2").tobytes(),
            }
            values = {"id": id, "eoe": eoe, **self._store.seal("dialogue_sets", id, **values)}
            db.execute(_REFRESH, values)
            self._store.count("refreshed")

    def hold_out(self, ids: Iterable[int], held_out: bool = True) -> None:
        """Keep answered sets out of training, to judge an adapter by them; or give them back."""
        values = [(held_out, id) for id in ids]
        with self._store.transaction() as db:
            db.executemany("UPDATE dialogue_sets SET held_out = ? WHERE id = ?", values)

    def mark_learned(self, ids: Iterable[int], version: int) -> None:
        """Note the adapter that a night made of these sets (held-out ones too): they may be replaced now."""
        values = [(version, id) for id in ids]
        with self._store.transaction() as db:
            db.executemany("UPDATE dialogue_sets SET learned_in = ? WHERE id = ?", values)

    def __len__(self) -> int:
        return self._store.rows("SELECT count(*) FROM dialogue_sets")[0][0]

    def answered(self) -> int:
        """How many of the sets the user has answered."""
        return self._store.rows("SELECT count(*) FROM dialogue_sets WHERE answered_at IS NOT NULL")[0][0]

    def _check_embedding(self, embedding: np.ndarray) -> None:
        assert embedding.shape == (self.hidden,), f"({self.hidden},) is expected, not {embedding.shape}"
        assert np.isfinite(embedding).all(), "an embedding with NaN or infinity has no neighbours"

    def _check_rest(self, dialogue_set: DialogueSet) -> None:
        scores = dialogue_set.scores
        assert np.isfinite([scores.eoe, scores.dss, scores.idd]).all(), f"scores must be finite: {scores}"
        check_bin((dialogue_set.question, dialogue_set.reply), size_of_embeddings(self.hidden), self.bin_bytes)
        if dialogue_set.response is not None:
            check_bin((dialogue_set.question, dialogue_set.response), size_of_embeddings(self.hidden), self.bin_bytes)

    def _values(self, new: DialogueSet, id: int) -> dict:
        now = self._store.clock()
        values = {
            "created": new.created or now, "domain": new.domain, "eoe": new.scores.eoe, "dss": new.scores.dss,
            "idd": new.scores.idd, "answered_at": None if new.response is None else now,
            "embedding": new.embedding.astype("<f4").tobytes(),
            "question_embedding": _question_embedding(new).astype("<f2").tobytes(),
            "question": new.question, "reply": new.reply, "response": new.response,
        }
        # SQLite takes Python's numbers only
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        return {"id": id, **self._store.seal("dialogue_sets", id, **plain)}

    def _synced(self) -> "_Rows":
        """The mirror, brought up to date.

        It starts anew after a rollback, for an id may have been taken back, and after a refresh.
        """
        with self._store.transaction():
            stamp = self._store.rollbacks, self._store.counter("refreshed")
            if self._stamp != stamp:
                self._rows, self._stamp = _Rows(self.capacity, self.hidden), stamp
            states = {id: (answered, protected) for id, answered, protected in self._store.rows(_STATES)}
            for id in [id for id in self._rows.ids if id not in states]:
                self._rows.remove(id)
            for id in [id for id in states if id not in self._rows.place]:
                self._rows.add(self.get(id))
            self._rows.states[: len(states)] = np.reshape([states[id] for id in self._rows.ids], (-1, 2))
            return self._rows

    def _parse(self, row) -> DialogueSet:
        row = self._store.unseal("dialogue_sets", row["id"], row)
        embedding, question = self._vector(row, "embedding", "<f4"), None
        if row["question_embedding"] is not None:
            question = self._vector(row, "question_embedding", "<f2")
        return DialogueSet(
            row["question"], row["reply"], row["domain"], embedding,
            Scores(row["eoe"], row["dss"], row["idd"]), row["id"], row["response"], row["created"],
            {"answered_at": row["answered_at"], "learned_in": row["learned_in"],
             "held_out": bool(row["held_out"])},
            question,
        )

    def _vector(self, row, column: str, kind: str) -> np.ndarray:
        data, size = row[column], np.dtype(kind).itemsize
        if len(data) != size * self.hidden:
            raise UsageError(
                f"dialogue set {row['id']} has an embedding of {len(data) // size} values, the base model"
                f" gives {self.hidden}; use the model it came from, or another home"
            )
        vector = np.frombuffer(data, kind).astype(np.float32)
        if not np.isfinite(vector).all():
            raise DamagedDataError(f"dialogue set {row['id']} has a broken embedding; delete the set")
        return vector


class _Rows:
    """The mirror in memory: dense columns in no order (a removed row's place goes to the last one)."""

    COLUMNS = ("embeddings", "questions", "eoe", "dss", "states")

    def __init__(self, capacity: int, hidden: int):
        self.ids: list[int] = []
        self.place: dict[int, int] = {}  # id -> row
        self.domains: list[str] = []
        self.embeddings = np.zeros((capacity, hidden), np.float32)
        self.questions = np.zeros((capacity, hidden), np.float16)
        self.eoe, self.dss = np.zeros(capacity), np.zeros(capacity)
        self.states = np.zeros((capacity, 2), bool)  # answered, protected
        self._index = None  # of the questions; made anew after a change, with which all cosines change

    def add(self, new: DialogueSet) -> None:
        row = len(self.ids)
        if row == len(self.embeddings):  # more sets than bins: the capacity was lowered
            self._grow()
        self.embeddings[row], self.questions[row] = new.embedding, _question_embedding(new)
        self.eoe[row], self.dss[row], self.states[row] = new.scores.eoe, new.scores.dss, False
        self.place[new.id] = row
        self.ids.append(new.id)
        self.domains.append(new.domain)
        self._index = None

    def remove(self, id: int) -> None:
        row, last = self.place.pop(id), len(self.ids) - 1
        for column in (self.ids, self.domains, *map(vars(self).get, self.COLUMNS)):
            column[row] = column[last]
        if row != last:
            self.place[self.ids[row]] = row
        self.ids.pop()
        self.domains.pop()
        self._index = None

    def nearest(self, question: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and cosines of the k nearest questions, best first."""
        if self._index is None:
            order = np.argsort(self.ids)  # or the sums' last bits would hang on the rows' order
            self._index = StandardizedIndex(np.asarray(self.ids)[order], self.questions[order].astype(np.float32))
        return self._index.search(question, k)

    def view(self, capacity: int, seen: int) -> BufferView:
        n = len(self.ids)
        return BufferView(
            self.ids, self.embeddings[:n], self.domains, self.eoe[:n], self.dss[:n], *self.states[:n].T,
            capacity, seen,
        )

    def _grow(self) -> None:
        for name in self.COLUMNS:
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))


def _question_embedding(dialogue_set: DialogueSet) -> np.ndarray:
    """That of the whole exchange stands in where it is not known."""
    known = dialogue_set.question_embedding
    return dialogue_set.embedding if known is None else known


def _protected_ids(view: BufferView) -> set[int]:
    return {id for id, protected in zip(view.ids, view.protected) if protected}
