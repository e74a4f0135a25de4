import math

import numpy as np
import pytest
from idletune.fleet.privacy import clipped, epsilon, multiplier_for, noised


def test_a_long_update_is_scaled_to_the_norm_and_a_short_one_stays():
    update = np.array([3, 4], np.float32)
    assert clipped(update, 5) is update
    assert clipped(update, 1) == pytest.approx([0.6, 0.8]) and clipped(update, 1).dtype == np.float32
    assert not clipped(np.zeros(3, np.float32), 1).any()


def test_noise_has_the_deviation_asked_for_and_is_new_each_time():
    zero = np.zeros(100_000, np.float32)
    first, second = noised(zero, 0.5), noised(zero, 0.5)
    assert first.dtype == np.float32 and (first != second).mean() > 0.99
    assert first.std() == pytest.approx(0.5, rel=0.02) and abs(first.mean()) < 0.01
    assert noised(zero, 0.0) is zero


def test_epsilon_of_one_gaussian_release_is_balle_and_wangs():
    # The multiplier 3.7298 of epsilon 1, delta 1e-5 is that of the analytic Gaussian mechanism.
    assert epsilon([3.7298], 1e-5) == pytest.approx(1, abs=1e-3)
    assert epsilon([], 1e-5) == 0 and epsilon([1, 0], 1e-5) == math.inf


def test_rounds_add_up_as_one_release_with_less_noise():
    assert epsilon([4.0] * 16, 1e-5) == pytest.approx(epsilon([1.0], 1e-5), rel=1e-4)
    assert epsilon([2.0, 3.0], 1e-5) > epsilon([2.0], 1e-5) > epsilon([2.0], 1e-3)


@pytest.mark.parametrize("wanted", [0.5, 2, 8])
def test_the_multiplier_for_an_epsilon_spends_it_and_no_more(wanted):
    found = multiplier_for(wanted, 1e-5, 10)
    assert epsilon([found] * 10, 1e-5) == pytest.approx(wanted, rel=1e-4)
    assert epsilon([found] * 10, 1e-5) <= wanted < epsilon([found] * 11, 1e-5)
