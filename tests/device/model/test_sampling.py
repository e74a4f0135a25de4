import numpy as np
import pytest
from idletune.model.sampling import TOP_K, Sampler


def draws(logits, count=2000, **options):
    sampler = Sampler(**{"temperature": 1.0, "top_p": 1.0, "seed": 0} | options)
    return np.bincount([sampler.sample(logits) for _ in range(count)], minlength=len(logits)) / count


def test_temperature_zero_is_the_likeliest():
    assert Sampler(0.0, 0.9, 3).sample(np.array([0.0, 5.0, 4.9], np.float32)) == 1


def test_shares_follow_the_softmax_of_the_tempered_logits():
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    assert draws(logits) == pytest.approx([0.5, 0.3, 0.2], abs=0.04)
    sharp = np.array([0.5, 0.3, 0.2]) ** 2
    assert draws(logits, temperature=0.5) == pytest.approx(sharp / sharp.sum(), abs=0.04)


@pytest.mark.slow
def test_the_nucleus_keeps_the_fewest_that_hold_top_p():
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    assert draws(logits, top_p=0.7)[2] == 0 and draws(logits, top_p=0.7)[1] > 0
    assert draws(logits, top_p=0.0).tolist() == [1, 0, 0]


def test_only_the_best_are_drawn_from_and_a_seed_repeats():
    logits = np.random.default_rng(0).standard_normal(500).astype(np.float32)
    drawn = np.flatnonzero(draws(logits, temperature=2.0))
    assert len(drawn) <= TOP_K and set(drawn) <= set(np.argsort(logits)[-TOP_K:])
    first, second = (Sampler(1.0, 0.9, 7) for _ in range(2))
    assert [first.sample(logits) for _ in range(20)] == [second.sample(logits) for _ in range(20)]
