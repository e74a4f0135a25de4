"""FedAvg over B behind its checks, by Flower; needs the extra fleet."""

import numpy as np
import pytest
from fleet_terms import terms

pytest.importorskip("flwr", reason="Flower is not installed: make test-fleet, or pip install 'idletune[fleet]'")

from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.supercore.differential_privacy import compute_clip_model_update  # noqa: E402
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402
from idletune.fleet.privacy import clipped, epsilon  # noqa: E402
from idletune.fleet.terms import Terms  # noqa: E402
from idletune_fleet.client_app import ARRAYS, EXAMPLES, LOSS, METRICS, record_of, values_of  # noqa: E402
from idletune_fleet.strategy import FleetStrategy, longest_update  # noqa: E402

SIZE = 64


@pytest.fixture(autouse=True)
def identity():
    """What a process that Flower starts is told."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1


def strategy_of(**changed):
    strategy = FleetStrategy(Terms.from_dict(terms(**changed)), SIZE)
    strategy.current_arrays = record_of(np.zeros(SIZE, np.float32))
    return strategy


def asked():
    return Message(RecordDict({}), dst_node_id=1, message_type="train")


def reply(values, metrics=None, kind=np.float32):
    arrays = ArrayRecord({"b": Array(np.asarray(values, kind))})
    return Message(RecordDict({ARRAYS: arrays, METRICS: MetricRecord(metrics or {EXAMPLES: 1})}), reply_to=asked())


def test_the_average_is_of_b_and_every_phone_counts_the_same():
    strategy = strategy_of()
    arrays, _ = strategy.aggregate_train(1, [reply(np.full(SIZE, 0.01)), reply(np.full(SIZE, 0.03))])
    assert values_of(arrays) == pytest.approx(0.02) and strategy.replies == [2]


@pytest.mark.parametrize(
    "poisoned",
    [
        lambda: reply(np.full(SIZE, np.nan)),
        lambda: reply(np.zeros(SIZE + 1)),
        lambda: reply(np.zeros(SIZE), kind=np.float64),
        lambda: reply(np.zeros(SIZE), {EXAMPLES: 1_000_000}),
        lambda: reply(np.zeros(SIZE), {EXAMPLES: 1, "more": 2}),
        lambda: Message(Error(1001, "declined"), reply_to=asked()),
    ],
)
def test_a_reply_that_is_not_sound_is_left_out_and_the_others_count(poisoned):
    strategy = strategy_of(phones=3)
    arrays, _ = strategy.aggregate_train(1, [reply(np.full(SIZE, 0.01)), poisoned(), reply(np.full(SIZE, 0.03))])
    assert values_of(arrays) == pytest.approx(0.02) and strategy.replies == [2]


def test_an_average_of_one_phone_would_be_that_phones_update_so_there_is_none():
    strategy = strategy_of()
    assert strategy.aggregate_train(1, [reply(np.ones(SIZE))]) == (None, None)
    assert strategy.replies == [0]


def test_a_poisoned_update_moves_the_average_by_its_bound_and_no_more():
    strategy = strategy_of(clipping_norm=1.0, phones=8)
    replies = [reply(np.zeros(SIZE)) for _ in range(7)]
    arrays, _ = strategy.aggregate_train(1, [*replies, reply(np.full(SIZE, 1e6))])
    assert np.linalg.norm(values_of(arrays)) == pytest.approx(1 / 8, rel=1e-3)


def test_a_change_longer_than_most_counts_no_more_than_those():
    strategy = strategy_of(clipping_norm=1000.0, phones=4)
    changes = [np.full(SIZE, value) for value in (0.01, 0.02, 0.03)]
    arrays, _ = strategy.aggregate_train(1, [*map(reply, changes), reply(np.full(SIZE, -5.0))])
    assert values_of(arrays) == pytest.approx(
        (0.01 + 0.02 + 0.03 - 0.03) / 4, rel=1e-4
    )  # as long as the longest of most


def test_phones_that_change_nothing_leave_the_average_where_it_was():
    strategy = strategy_of()
    shared = np.linspace(-1, 1, SIZE, dtype=np.float32)
    strategy.current_arrays = record_of(shared)
    arrays, _ = strategy.aggregate_train(1, [reply(shared), reply(shared)])
    assert values_of(arrays) == pytest.approx(shared, abs=1e-6)


def test_noise_fits_under_the_servers_bound():
    noisy = Terms.from_dict(terms(noise_multiplier=2.0, epsilon=8.0, clipping_norm=3.0))
    rng = np.random.default_rng(0)
    norms = [np.linalg.norm(rng.normal(0, 6, 10_000)) for _ in range(20)]
    assert max(norms) < longest_update(noisy, 10_000) < 1.2 * max(norms)


def test_losses_are_averaged_where_they_are_told_and_absurd_ones_are_left_out():
    strategy = strategy_of(tell_loss=True)

    def told(loss):
        return Message(RecordDict({METRICS: MetricRecord({EXAMPLES: 1, LOSS: loss})}), reply_to=asked())

    assert dict(strategy.aggregate_evaluate(1, [told(3.0), told(4.0), told(1e9), told(-1.0)])) == {LOSS: 3.5}
    assert strategy.aggregate_evaluate(1, [told(float("nan"))]) is None


def test_clipping_on_the_phone_is_flowers():
    change, shared = np.random.default_rng(1).standard_normal((2, SIZE)).astype(np.float32)
    theirs = [shared + change]
    compute_clip_model_update(theirs, [shared], 0.5)
    assert shared + clipped(change, 0.5) == pytest.approx(theirs[0], abs=1e-6)


def test_our_epsilon_is_below_the_bound_that_flowers_accountant_gives_and_near_it():
    pytest.importorskip("dp_accounting", reason="Flower's accountant is not installed: pip install 'flwr[dp]'")
    from flwr.supercore.privacy_accounting import (
        GaussianPrivacyEvent,
        NeighboringRelation,
        PrivacyConfig,
        SamplingMethod,
    )
    from flwr.supercore.privacy_accounting.rdp_accountant import RdpAccountant

    relation, sampling = NeighboringRelation.ADD_OR_REMOVE_ONE, SamplingMethod.NO_AMPLIFICATION
    accountant = RdpAccountant(PrivacyConfig(1e-5, 8, relation, sampling))
    accountant.compose(GaussianPrivacyEvent(4.0, 8, 8), 8)
    theirs = accountant.get_privacy_spent().epsilon
    assert 0.85 * theirs < epsilon([4.0] * 8, 1e-5) <= theirs
