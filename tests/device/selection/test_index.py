"""Both indexes against brute force, and against each other: same neighbours, same order, same bits."""

import sys

import numpy as np
import pytest
from idletune.selection.index import FaissIndex, NumpyIndex, make_index


def faiss_index(ids, rows):
    pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    return FaissIndex(ids, rows)


@pytest.fixture(params=[NumpyIndex, faiss_index], ids=["numpy", "faiss"])
def make(request):
    return request.param


def unit_rows(n, hidden, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, hidden))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_nearest_by_hand(make):
    index = make([10, 3, 7], np.array([[1, 0], [0, 1], [0.6, 0.8]]))
    ids, similarities = index.search(np.array([1, 0]), 2)
    assert ids.tolist() == [10, 7] and ids.dtype == np.int64
    assert similarities == pytest.approx([1.0, 0.6]) and similarities.dtype == np.float32


def test_against_brute_force(make):
    rows = unit_rows(200, 48)
    index = make(range(200), rows)
    for query in unit_rows(20, 48, seed=1):
        expected = np.argsort(-(rows.astype(np.float64) @ query))[:9]
        assert index.search(query, 9)[0].tolist() == expected.tolist()


def test_equal_rows_come_with_the_smaller_id_first(make):
    rows = unit_rows(1, 16).repeat(5, axis=0)
    index = make([50, 4, 31, 8, 12], rows)
    assert index.search(rows[0], 3)[0].tolist() == [4, 8, 12]
    assert index.search(rows[0], 10)[0].tolist() == [4, 8, 12, 31, 50]


@pytest.mark.parametrize("hidden", [3, 64, 576, 2048])
def test_faiss_and_numpy_answer_alike(hidden):
    random = np.random.default_rng(hidden)
    rows = np.concatenate([unit_rows(60, hidden), unit_rows(60, hidden)[::2], unit_rows(60, hidden)[::3]])
    nudged = rows[:30] + random.normal(size=(30, hidden)) * 1e-8  # apart by the last bits
    rows = np.concatenate([rows, nudged])
    ids = random.permutation(1000)[: len(rows)].tolist()
    mine, other = NumpyIndex(ids, rows), faiss_index(ids, rows)
    for query in np.concatenate([rows[::5], unit_rows(20, hidden, seed=9)]):
        for k in (1, 2, 3, 7, 500):
            for left, right in zip(mine.search(query, k), other.search(query, k)):
                np.testing.assert_array_equal(left, right)


def test_more_neighbours_than_rows_and_none(make):
    empty, one = make([], np.zeros((0, 4))), make([2**40], np.array([[1, 0, 0, 0]]))
    for k in (0, 3):
        ids, similarities = empty.search(np.ones(4) / 2, k)
        assert ids.shape == similarities.shape == (0,)
    assert one.search(np.ones(4) / 2, 5)[0].tolist() == [2**40]
    assert one.search(np.ones(4) / 2, 0)[0].tolist() == []


def test_the_index_keeps_its_own_copy(make):
    rows = np.array([[1, 0]], dtype=np.float32)
    index = make([1], rows)
    rows[:] = [0, 1]
    assert index.search(np.array([1, 0]), 1)[1].tolist() == [1.0]


def test_wrong_shape_and_nan_are_refused(make):
    index = make([1], np.ones((1, 4)) / 2)
    for vector in (np.ones(3), np.ones((1, 4)), np.full(4, np.nan)):
        with pytest.raises(AssertionError):
            index.search(vector, 1)
    for ids, rows in (([1], np.ones(4)), ([1, 2], np.ones((1, 4))), ([1], np.full((1, 4), np.nan))):
        with pytest.raises(AssertionError):
            make(ids, rows)


def test_make_index_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # import faiss raises ImportError
    assert isinstance(make_index([], np.zeros((0, 8))), NumpyIndex)


def test_make_index_with_faiss():
    pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    assert isinstance(make_index([], np.zeros((0, 8))), FaissIndex)
