"""The head on int8 beside the float32 head: near in every direction that matters, and repeatable."""

import numpy as np
import pytest
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.training.head import Head
from idletune.training.int8_head import Int8Head
from idletune.training.weights import OUTPUT_ROWS, Weights


@pytest.fixture(scope="module")
def weights(tiny_path):
    file = GgufFile(tiny_path)
    return Weights(file, ModelShape.of(file), threads=1)


@pytest.fixture(scope="module")
def values(weights):
    """What leaves the last layer, with a mean that all tokens share, as real models have it."""
    rng, hidden = np.random.default_rng(0), weights.shape.hidden
    x = rng.standard_normal((23, hidden)) + 3 * rng.standard_normal(hidden)
    return x.astype(np.float32), rng.integers(0, weights.shape.vocabulary, 23)


def gradient(head, values):
    dx = np.empty_like(values[0])
    return head.gradient(*values, dx).sum(), dx


def test_the_gradient_is_near_for_every_token_and_for_all_together(weights, values):
    loss, exact = gradient(Head(weights, 1), values)
    near_loss, near = gradient(Head(weights, 1, Int8Head(weights, 1)), values)
    assert near_loss == pytest.approx(loss, rel=2e-3) and near_loss != loss
    for a, b in ((exact, near), (exact.sum(0), near.sum(0))):
        assert np.linalg.norm(a - b) < 0.03 * np.linalg.norm(a)


def test_the_centre_takes_out_what_tokens_share(weights):
    """Logits of values that differ little: a mean error of all tokens remains without it."""
    rng, embedding = np.random.default_rng(1), np.concatenate([part.copy() for part in weights.output_chunks()])
    h = (8 * rng.standard_normal(64) + rng.standard_normal((40, 64))).astype(np.float32)
    exact = np.log(np.exp((h @ embedding.T).astype(np.float64)).sum(1))

    def error(mean_hidden):
        head = Int8Head(weights, 1)
        head.mean_hidden = mean_hidden
        sums = head.sums(h)
        return abs((np.log(sums["total"]) + sums["highest"])[:, 0].mean() - exact.mean())

    assert error(None) < 0.3 * error(np.zeros(64, np.float32))


def test_small_odds_count_on_average(weights):
    """Words that each have a thousandth of the likeliest one's odds: rounded to steps of 1/254 they would vanish."""
    head, hidden = Int8Head(weights, 1), weights.shape.hidden
    embedding = np.zeros((OUTPUT_ROWS, hidden), np.float32)
    embedding[0, 0], embedding[1:, 1] = np.log(1000), 1
    values = np.zeros((16, hidden), np.float32)
    values[:, 0], values[:, 1] = 1, 0
    head.mean_hidden = values[0]
    head.weights = type("OnePart", (), {"output_chunks": staticmethod(lambda: iter([embedding]))})
    sums = head.sums(values)
    assert sums["weighted_sum"][:, 1] == pytest.approx((OUTPUT_ROWS - 1) / 1000, abs=0.25)
    assert sums["weighted_sum"][:, 1].mean() == pytest.approx((OUTPUT_ROWS - 1) / 1000, rel=0.05)


def test_a_centre_that_is_set_gives_the_same_bits(weights, values):
    """As a resumed run sets what its checkpoint kept."""
    first, again = Int8Head(weights, 1), Int8Head(weights, 1)
    first.sums(values[0])
    again.mean_hidden = first.mean_hidden
    found = [head.sums(values[0][::2]) for head in (first, again)]
    for name, array in found[0].items():
        assert array.tobytes() == found[1][name].tobytes()
