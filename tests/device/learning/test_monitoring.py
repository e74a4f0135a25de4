"""Adapter monitoring: an adapter that later answers show to be worse is rolled back, and noise is no reason."""

from dataclasses import replace

import numpy as np
import pytest
from idletune.learning.monitoring import Comparison, mean_and_error
from idletune.learning.outcome import SliceOutcome
from idletune.state.run_records import open_run
from loop import SETTINGS, answer_all, observe, open_tiny_runtime


@pytest.fixture
def learned(tiny_path, home):
    # To a random model the letters of the questions would be of use for any answer.
    settings = replace(SETTINGS, train_on_questions=False)
    with open_tiny_runtime(tiny_path, home)(settings) as runtime:
        observe(runtime, 8)
        answer_all(runtime, "aaaa aaaa aaaa")
        assert runtime.learn().verdict.promoted
        yield runtime


def test_answers_that_fit_worse_roll_it_back(learned):
    assert learned.monitor_adapter() is None  # nothing was answered since
    observe(learned, 24, start=20)
    for number in range(24):
        learned.queue.edit(learned.next_prompt().id, f"zq{number} xv{number * 7} kj!")
    found = learned.monitor_adapter()
    assert found.failed and found.answers == 24 and found.before is None
    assert learned.model.adapter is None and learned.adapters.current() is None
    assert learned.store.row("SELECT rolled_back FROM comparisons")["rolled_back"]
    assert "answers since fit worse by" in learned.adapters.get(1).reason


def test_answers_that_fit_keep_it_and_are_measured_once(learned):
    observe(learned, 9, start=20)
    answer_all(learned, "aaaa aaaa")
    found = learned.monitor_adapter()
    assert not found.failed and found.worse < 0 and learned.model.adapter == learned.adapters.current().path
    assert learned.monitor_adapter() is None


def test_replies_of_the_model_judge_no_adapter(learned):
    """They suit the adapter that wrote them."""
    observe(learned, 12, start=20)
    for _ in range(12):
        learned.queue.accept(learned.next_prompt().id)
    assert learned.monitor_adapter() is None
    observe(learned, 9, start=40)
    answer_all(learned, "aaaa aaaa")
    assert learned.monitor_adapter().answers == 9


def looks(limit):
    """A stop request that comes at the given look."""
    count = iter(range(10**9))
    return lambda: next(count) >= limit


def test_cancelled_monitoring_goes_on_where_it_stood(learned):
    observe(learned, 9, start=20)
    answer_all(learned, "aaaa aaaa")
    for _ in range(4):
        assert learned.monitor_adapter(looks(4)) is None and learned.model.adapter == learned.adapters.current().path
    found = learned.monitor_adapter(looks(2))  # of 2 x 9 losses the last two
    assert found.answers == 9 and found.worse < 0
    observe(learned, 1, start=30)
    answer_all(learned, "aaaa aaaa")
    assert learned.monitor_adapter(looks(1)) is None and learned.monitor_adapter(looks(1)).answers == 10
    newest = learned.buffer.sets()[-1].id
    learned.forget(newest)
    losses = learned.store.rows("SELECT dialogue_set_id FROM answer_losses")
    assert len(losses) == 18 and newest not in {row["dialogue_set_id"] for row in losses}


def test_a_slice_that_is_cancelled_in_monitoring_begins_no_run(learned):
    observe(learned, 9, start=20)
    answer_all(learned, "aaaa aaaa")
    assert learned.learn_slice(lambda: True) == SliceOutcome.unfinished("adapter monitoring")
    assert open_run(learned.store) is None and learned.monitor_adapter(looks(18)).answers == 9


def test_losses_under_plain_hashes_are_gone_from_an_encrypted_home(learned):
    observe(learned, 9, start=20)
    answer_all(learned, "aaaa aaaa")
    learned.monitor_adapter(looks(4))
    learned.rotate_key(b"k" * 32)
    assert not learned.store.rows("SELECT * FROM answer_losses")
    assert learned.monitor_adapter(looks(17)) is None and learned.monitor_adapter(looks(1)).answers == 9


def test_few_answers_say_nothing(learned):
    observe(learned, 7, start=20)
    answer_all(learned, "zq xv kj!")
    assert learned.monitor_adapter() is None and learned.model.adapter is not None


def test_noise_is_no_reason():
    rng, dropped = np.random.default_rng(0), 0
    for _ in range(2000):
        mean, error = mean_and_error(list(rng.standard_normal(8)))
        dropped += Comparison(1, None, 8, mean, error).failed
    assert dropped / 2000 < 0.02
    assert Comparison(1, None, 8, *mean_and_error(list(1 + 0.1 * rng.standard_normal(8)))).failed
