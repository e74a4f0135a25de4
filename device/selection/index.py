"""Nearest neighbours of a unit-length embedding among the buffered sets, by inner product.

FAISS where it is installed, numpy where it is not: on a phone it often cannot be. Both must answer alike,
or a decision would change with the phone. Their inner products differ in the last bits and FAISS leaves the
order of equal neighbours open, so a backend only shortlists; one exact ranking, shared, decides.
"""

from abc import ABC, abstractmethod

import numpy as np

# Float32 sums of a few thousand products of a unit row differ between backends by about 1e-6.
MARGIN = 1e-5


class EmbeddingIndex(ABC):
    """Rows of unit length under integer ids. It lives in memory: the store rebuilds it at start."""

    def __init__(self, hidden: int):
        self.hidden = hidden
        self._rows: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, id: int, vector: np.ndarray) -> None:
        """Add a unit vector, float32 (hidden,). Raises ValueError for an id that is there already."""
        if id in self._rows:
            raise ValueError(f"id {id} is in the index already; remove it first")
        row = self._checked(vector).copy()
        self._rows[id] = row
        self._insert(id, row)

    def remove(self, id: int) -> None:
        """Remove a vector. Raises KeyError for an id that is not in the index."""
        del self._rows[id]
        self._delete(id)

    def search(self, vector: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest: int64 ids and float32 similarities, best first, of equal ones the smaller id first.

        Fewer than k when the index holds fewer.
        """
        vector, k = self._checked(vector), min(k, len(self))
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        ids = np.sort(self._shortlist(vector, k))
        similarities = self._exact(ids, vector)
        best = np.argsort(-similarities, kind="stable")[:k]
        return ids[best], similarities[best]

    def _exact(self, ids: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Summed in float64 row by row, so that equal rows get equal bits wherever they stand."""
        rows = np.stack([self._rows[int(id)] for id in ids]).astype(np.float64)
        return (rows * vector).sum(axis=1).astype(np.float32)

    def _checked(self, vector: np.ndarray) -> np.ndarray:
        vector = np.asarray(vector, dtype=np.float32)
        assert vector.shape == (self.hidden,), f"({self.hidden},) is expected, not {vector.shape}"
        assert np.isfinite(vector).all(), "a vector with NaN or infinity has no neighbours"
        return vector

    @abstractmethod
    def _insert(self, id: int, row: np.ndarray) -> None: ...

    @abstractmethod
    def _delete(self, id: int) -> None: ...

    @abstractmethod
    def _shortlist(self, vector: np.ndarray, k: int) -> np.ndarray:
        """Ids, each once, of every row within MARGIN of the k-th best similarity or above; 1 <= k <= n."""


class NumpyIndex(EmbeddingIndex):
    """Exact search with one matrix product; the matrix is stacked anew after a change."""

    def __init__(self, hidden: int):
        super().__init__(hidden)
        self._matrix: tuple[np.ndarray, np.ndarray] | None = None  # ids, rows

    def _insert(self, id, row):
        self._matrix = None

    def _delete(self, id):
        self._matrix = None

    def _shortlist(self, vector, k):
        if self._matrix is None:
            self._matrix = np.fromiter(self._rows, dtype=np.int64), np.stack(list(self._rows.values()))
        ids, rows = self._matrix
        similarities = rows @ vector
        floor = np.partition(similarities, -k)[-k] - MARGIN
        return ids[similarities >= floor]


class FaissIndex(EmbeddingIndex):
    """Exact search with FAISS's flat inner-product index. Raises ImportError where faiss is missing."""

    def __init__(self, hidden: int):
        super().__init__(hidden)
        import faiss  # optional, and slow to import

        self._index = faiss.IndexIDMap(faiss.IndexFlatIP(hidden))

    def _insert(self, id, row):
        self._index.add_with_ids(row[None], np.array([id], dtype=np.int64))

    def _delete(self, id):
        self._index.remove_ids(np.array([id], dtype=np.int64))

    def _shortlist(self, vector, k):
        similarities, _ = self._index.search(vector[None], k)
        # A second pass by range, because the k best leave out neighbours as near as the last of them.
        _, _, ids = self._index.range_search(vector[None], float(similarities[0, -1]) - MARGIN)
        return ids


def make_index(hidden: int) -> EmbeddingIndex:
    """The index for embeddings of that size: FAISS where it can be imported, else numpy."""
    try:
        return FaissIndex(hidden)
    except ImportError:
        return NumpyIndex(hidden)
