"""Rotary embeddings from their description; the families' proofs compare them with llama.cpp and transformers."""

import math

import numpy as np
import pytest
from idletune.formats.rope import Rope, Yarn, cos_sin, frequencies, rotate_half_matrix

POSITIONS = np.array([0, 1, 7, 300])


def rotated(rope, x, positions=POSITIONS, divisors=None):
    cos, sin = cos_sin(rope, positions, x.shape[1], divisors)
    return x * cos + x @ rotate_half_matrix(rope, x.shape[1]) * sin


@pytest.mark.parametrize("pairs", ["neighbours", "halves"])
def test_pairs_are_rotated_by_their_angles(pairs):
    rope, x = Rope(pairs, 8, base=100.0), np.random.default_rng(0).standard_normal((4, 8))
    places = [(2 * n, 2 * n + 1) if pairs == "neighbours" else (n, n + 4) for n in range(4)]
    found = rotated(rope, x)
    for n, (a, b) in enumerate(places):
        turned = (x[:, a] + 1j * x[:, b]) * np.exp(1j * POSITIONS * 100.0 ** (-n / 4))
        np.testing.assert_allclose(found[:, a] + 1j * found[:, b], turned, atol=1e-5)


@pytest.mark.parametrize("pairs", ["neighbours", "halves"])
def test_values_behind_the_rotated_ones_stay(pairs):
    x = np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)
    found = rotated(Rope(pairs, 6), x)
    np.testing.assert_array_equal(found[:, 6:], x[:, 6:])
    np.testing.assert_allclose(found[:, :6], rotated(Rope(pairs, 6), x[:, :6]), atol=1e-6)
    np.testing.assert_array_equal(rotated(Rope(pairs, 0), x), x)


def test_linear_scaling_divisors_and_magnitude():
    plain, x = Rope("halves", 8), np.random.default_rng(0).standard_normal((4, 8))
    linear = rotated(Rope("halves", 8, scale=1 / 4), x, POSITIONS * 4)
    np.testing.assert_allclose(linear, rotated(plain, x), atol=1e-4)
    divisors = np.full(4, 4, np.float32)
    np.testing.assert_allclose(rotated(plain, x, POSITIONS * 4, divisors), rotated(plain, x), atol=1e-4)
    np.testing.assert_allclose(rotated(Rope("halves", 8, magnitude=1.5), x), 1.5 * rotated(plain, x), rtol=1e-5)


def test_yarn_keeps_fast_pairs_and_scales_slow_ones():
    rope = Rope("halves", 64, base=10000.0, scale=1 / 16, yarn=Yarn(original_context=4096))
    share = frequencies(rope) / frequencies(Rope("halves", 64))
    turns = 4096 * frequencies(Rope("halves", 64)) / (2 * math.pi)  # of each pair in the original context
    np.testing.assert_allclose(share[turns > 32 * 2], 1)
    np.testing.assert_allclose(share[turns < 1 / 2], 1 / 16)
    assert (np.diff(share) <= 0).all() and len(set(share)) > 4
