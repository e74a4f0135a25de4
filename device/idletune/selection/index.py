"""Nearest neighbours of a unit-length embedding, by inner product.

FAISS where it is installed, numpy where it is not: on a phone it often cannot be. Both must answer alike,
or a decision would change with the phone. Their inner products differ in the last bits and FAISS leaves the
order of equal neighbours open, so a backend only shortlists; one exact ranking, shared, decides.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from .standardization import Standardization

# Float32 sums of a few thousand products of a unit row differ between backends by about 1e-6.
MARGIN = 1e-5


class EmbeddingIndex(ABC):
    """Unit rows, float32 (n, hidden), under integer ids."""

    def __init__(self, ids: Sequence[int], rows: np.ndarray):
        assert rows.ndim == 2 and len(ids) == len(rows), f"{len(ids)} ids for rows of shape {rows.shape}"
        assert np.isfinite(rows).all(), "a vector with NaN or infinity has no neighbours"
        order = np.argsort(np.asarray(ids, np.int64))
        self._ids, self._rows = np.asarray(ids, np.int64)[order], rows[order].astype(np.float32)

    def search(self, vector: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest: int64 ids and float32 similarities, best first, of equal ones the smaller id first.

        Fewer than k when the index holds fewer.
        """
        vector, k = self._checked(vector), min(k, len(self._ids))
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        places = np.sort(self._shortlist(vector, k))
        # Summed in float64 row by row, so that equal rows get equal bits wherever they stand.
        similarities = (self._rows[places].astype(np.float64) * vector).sum(axis=1).astype(np.float32)
        best = np.argsort(-similarities, kind="stable")[:k]
        return self._ids[places[best]], similarities[best]

    def _checked(self, vector: np.ndarray) -> np.ndarray:
        vector, hidden = np.asarray(vector, dtype=np.float32), self._rows.shape[1]
        assert vector.shape == (hidden,), f"({hidden},) is expected, not {vector.shape}"
        assert np.isfinite(vector).all(), "a vector with NaN or infinity has no neighbours"
        return vector

    @abstractmethod
    def _shortlist(self, vector: np.ndarray, k: int) -> np.ndarray:
        """Numbers, each once, of every row within MARGIN of the k-th best similarity or above; 1 <= k <= n."""


class NumpyIndex(EmbeddingIndex):
    """Exact search with one matrix product."""

    def _shortlist(self, vector, k):
        similarities = self._rows @ vector
        floor = np.partition(similarities, -k)[-k] - MARGIN
        return np.flatnonzero(similarities >= floor)


class FaissIndex(EmbeddingIndex):
    """Exact search with FAISS's flat inner-product index. Raises ImportError where faiss is missing."""

    def __init__(self, ids: Sequence[int], rows: np.ndarray):
        super().__init__(ids, rows)
        import faiss  # optional, and slow to import

        self._index = faiss.IndexFlatIP(rows.shape[1])
        self._index.add(self._rows)

    def _shortlist(self, vector, k):
        similarities, _ = self._index.search(vector[None], k)
        # A second pass by range, because the k best leave out neighbours as near as the last of them.
        _, _, places = self._index.range_search(vector[None], float(similarities[0, -1]) - MARGIN)
        return places


def make_index(ids: Sequence[int], rows: np.ndarray) -> EmbeddingIndex:
    """The index of unit rows, float32 (n, hidden): FAISS where it can be imported, else numpy."""
    try:
        return FaissIndex(ids, rows)
    except ImportError:
        return NumpyIndex(ids, rows)


class StandardizedIndex:
    """Neighbours by the cosine of standardized embeddings: of `rows`, float32 (n, hidden), under `ids`."""

    def __init__(self, ids: Sequence[int], rows: np.ndarray):
        self._standardize = Standardization(rows)
        self._index = make_index(ids, self._standardize(rows))

    def search(self, vector: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest to an embedding (hidden,), as EmbeddingIndex has them."""
        return self._index.search(self._standardize(vector), k)
