"""Both indexes against brute force, and against each other: same neighbours, same order, same bits."""

import sys

import numpy as np
import pytest
from idletune.selection.index import FaissIndex, NumpyIndex, make_index


def faiss_index(hidden):
    pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    return FaissIndex(hidden)


@pytest.fixture(params=[NumpyIndex, faiss_index], ids=["numpy", "faiss"])
def make(request):
    return request.param


def unit_rows(n, hidden, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, hidden))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_nearest_by_hand(make):
    index = make(2)
    for id, vector in [(10, [1, 0]), (3, [0, 1]), (7, [0.6, 0.8])]:
        index.add(id, np.array(vector))
    ids, similarities = index.search(np.array([1, 0]), 2)
    assert ids.tolist() == [10, 7] and ids.dtype == np.int64
    assert similarities == pytest.approx([1.0, 0.6]) and similarities.dtype == np.float32


def test_against_brute_force(make):
    rows, index = unit_rows(200, 48), make(48)
    for id, row in enumerate(rows):
        index.add(id, row)
    for query in unit_rows(20, 48, seed=1):
        expected = np.argsort(-(rows.astype(np.float64) @ query))[:9]
        assert index.search(query, 9)[0].tolist() == expected.tolist()


def test_equal_rows_come_with_the_smaller_id_first(make):
    row, index = unit_rows(1, 16)[0], make(16)
    for id in [50, 4, 31, 8, 12]:
        index.add(id, row)
    assert index.search(row, 3)[0].tolist() == [4, 8, 12]
    index.add(1, row)
    assert index.search(row, 3)[0].tolist() == [1, 4, 8]
    index.remove(4)
    assert index.search(row, 10)[0].tolist() == [1, 8, 12, 31, 50]


@pytest.mark.parametrize("hidden", [3, 64, 576, 2048])
def test_faiss_and_numpy_answer_alike(hidden):
    mine, other, random = NumpyIndex(hidden), faiss_index(hidden), np.random.default_rng(hidden)
    rows = np.concatenate([unit_rows(60, hidden), unit_rows(60, hidden)[::2], unit_rows(60, hidden)[::3]])
    nudged = rows[:30] + random.normal(size=(30, hidden)) * 1e-8  # apart by the last bits
    rows = np.concatenate([rows, nudged])
    for id, row in zip(random.permutation(1000).tolist(), rows):
        mine.add(id, row), other.add(id, row)
        if id % 4 == 0:
            mine.remove(id), other.remove(id)
    for query in np.concatenate([rows[::5], unit_rows(20, hidden, seed=9)]):
        for k in (1, 2, 3, 7, 500):
            for left, right in zip(mine.search(query, k), other.search(query, k)):
                np.testing.assert_array_equal(left, right)


def test_more_neighbours_than_rows_and_none(make):
    index = make(4)
    for k in (0, 3):
        ids, similarities = index.search(np.ones(4) / 2, k)
        assert ids.shape == similarities.shape == (0,)
    index.add(2, np.array([1, 0, 0, 0]))
    assert index.search(np.ones(4) / 2, 5)[0].tolist() == [2]
    assert index.search(np.ones(4) / 2, 0)[0].tolist() == []
    assert len(index) == 1


def test_ids_are_added_once_and_removed_once(make):
    index, row = make(4), np.array([1, 0, 0, 0])
    index.add(2**40, row)
    with pytest.raises(ValueError, match="already"):
        index.add(2**40, row)
    index.remove(2**40)
    with pytest.raises(KeyError):
        index.remove(2**40)
    assert len(index) == 0 and len(index.search(row, 1)[0]) == 0
    index.add(2**40, -row)
    assert index.search(row, 1)[1].tolist() == [-1.0]


def test_the_index_keeps_its_own_copy(make):
    index, row = make(2), np.array([1, 0], dtype=np.float32)
    index.add(1, row)
    row[:] = [0, 1]
    assert index.search(np.array([1, 0]), 1)[1].tolist() == [1.0]


def test_wrong_shape_and_nan_are_refused(make):
    index = make(4)
    for vector in (np.ones(3), np.ones((1, 4)), np.full(4, np.nan)):
        with pytest.raises(AssertionError):
            index.add(1, vector)
        with pytest.raises(AssertionError):
            index.search(vector, 1)
    assert len(index) == 0


def test_make_index_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # import faiss raises ImportError
    assert isinstance(make_index(8), NumpyIndex)


def test_make_index_with_faiss():
    pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    assert isinstance(make_index(8), FaissIndex)
