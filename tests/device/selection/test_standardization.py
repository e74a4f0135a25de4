"""Standardized embeddings: no common direction, no dimension that outweighs the rest."""

import numpy as np
import pytest
from idletune.selection.standardization import Standardization


def texts(n, hidden=16, seed=0):
    """Directions that differ in small dimensions, beside a common one and a large one that say nothing."""
    random = np.random.default_rng(seed)
    told = random.standard_normal((n, hidden)).astype(np.float32)
    told[:, 0] = 50  # the same in all
    told[:, 1] *= 30
    return told


def test_texts_alike_are_found_where_plain_cosines_see_the_largest_dimension():
    rows = texts(40)
    alike = rows[7].copy()
    alike[1] = rows[20, 1]  # the large dimension points elsewhere
    standardize = Standardization(rows)
    plain = (rows / np.linalg.norm(rows, axis=1, keepdims=True)) @ alike
    assert (standardize(rows) @ standardize(alike)).argmax() == 7 != plain.argmax()


def test_each_dimension_counts_alike():
    rows = texts(400)
    cosines = Standardization(rows)(rows)
    assert np.abs(cosines[:, 1:].mean(axis=0)).max() < 0.02
    assert cosines[:, 1:].std(axis=0) == pytest.approx(np.full(15, 16**-0.5), rel=0.15)


@pytest.mark.parametrize("rows", [np.zeros((0, 4)), np.ones((1, 4)), np.ones((3, 4)), np.zeros((2, 4))])
def test_few_or_equal_texts_are_compared_too(rows):
    standardize = Standardization(rows.astype(np.float32))
    for vector in (np.ones(4), -np.ones(4), np.zeros(4), np.arange(4.0)):
        standardized = standardize(vector)
        assert standardized.dtype == np.float32 and np.isfinite(standardized).all()
        assert np.linalg.norm(standardized) == pytest.approx(1, abs=1e-5) or not standardized.any()
    assert len(rows) == 0 or (standardize(rows) @ standardize(np.ones(4))).shape == (len(rows),)


def test_the_nearest_of_two_is_told_apart():
    rows = np.array([[1, 0.1, 0], [1, 0, 0.1]], np.float32)
    standardize = Standardization(rows)
    near, far = standardize(rows) @ standardize(rows[0])
    assert near == pytest.approx(1, abs=1e-5) and far < 0.9
