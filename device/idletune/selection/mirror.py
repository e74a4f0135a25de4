"""The buffer's mirror in memory: what policies and retrieval read, as dense columns.

Rows are in no order: the last one takes the place of a removed one, so that nothing is copied but a row.
"""

import numpy as np

from ..dialogue import DialogueSet
from .index import StandardizedIndex
from .policies import BufferView


class BufferMirror:
    """One row for each stored set; the columns have `capacity` rows and grow where more sets are stored."""

    def __init__(self, capacity: int, hidden: int):
        self.ids: list[int] = []
        self.row_of: dict[int, int] = {}  # by id
        self.domains: list[str] = []
        self.origins: list[str] = []
        self.embeddings = np.zeros((capacity, hidden), np.float32)
        self.questions = np.zeros((capacity, hidden), np.float16)
        self.eoe, self.dss = np.zeros(capacity), np.zeros(capacity)
        self.states = np.zeros((capacity, 2), bool)  # answered, protected
        self._index: StandardizedIndex | None = (
            None  # of the questions; made anew after a change: all cosines change with it
        )

    def add(self, id: int, new: DialogueSet) -> None:
        row = len(self.ids)
        if row == len(self.embeddings):  # more sets than the capacity, which was lowered
            self._grow()
        self.embeddings[row], self.questions[row] = new.embedding, question_embedding(new)
        self.eoe[row], self.dss[row], self.states[row] = new.scores.eoe, new.scores.dss, False
        self.row_of[id] = row
        self.ids.append(id)
        self.domains.append(new.domain)
        self.origins.append(new.origin)
        self._index = None

    def remove(self, id: int) -> None:
        row, last = self.row_of.pop(id), len(self.ids) - 1
        for column in (self.embeddings, self.questions, self.eoe, self.dss, self.states):
            column[row] = column[last]
        self.ids[row], self.domains[row], self.origins[row] = self.ids[last], self.domains[last], self.origins[last]
        if row != last:
            self.row_of[self.ids[row]] = row
        self.ids.pop()
        self.domains.pop()
        self.origins.pop()
        self._index = None

    def nearest(self, question: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and cosines of the k nearest questions, best first."""
        if self._index is None:
            order = np.argsort(self.ids)  # else the last bits of the mean would depend on the order of the rows
            ids = [self.ids[row] for row in order]
            self._index = StandardizedIndex(ids, self.questions[order].astype(np.float32))
        return self._index.search(question, k)

    def of_origin(self, origin: str) -> list[int]:
        """The rows of an origin's sets."""
        return [row for row, known in enumerate(self.origins) if known == origin]

    def view(self, capacity: int, seen: int, only: list[int] | None = None) -> BufferView:
        """All rows, or those in `only`, as a policy sees them."""
        rows: slice | list[int] = slice(len(self.ids)) if only is None else only
        answered, protected = self.states[rows].T
        return BufferView(
            ids=self.ids if only is None else [self.ids[row] for row in only],
            embeddings=self.embeddings[rows],
            domains=self.domains if only is None else [self.domains[row] for row in only],
            eoe=self.eoe[rows],
            dss=self.dss[rows],
            answered=answered,
            protected=protected,
            capacity=capacity,
            seen=seen,
        )

    def _grow(self) -> None:
        for name in ("embeddings", "questions", "eoe", "dss", "states"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))


def question_embedding(dialogue_set: DialogueSet) -> np.ndarray:
    """That of the whole exchange stands in where it is not known."""
    known = dialogue_set.question_embedding
    return dialogue_set.embedding if known is None else known
