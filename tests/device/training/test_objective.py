"""The objective's derivatives, which replies may be compared, and training on a preference."""

import numpy as np
import pytest
from idletune.examples import IGNORE_INDEX, Example, labelled_example
from idletune.training.objective import Objective, are_comparable, log_odds
from idletune.training.packing import plan_sequences

RNG = np.random.default_rng(3)
PROMPT = [5, 6, 7, 8]
CHOSEN, REJECTED, OTHER = (labelled_example([*PROMPT, *RNG.integers(0, 90, n)], start=len(PROMPT)) for n in (6, 9, 3))
EXAMPLES = [OTHER, CHOSEN, REJECTED]
OBJECTIVE = Objective({1: 0.5}, {1: 2}, strength=0.3)


def test_log_odds_by_hand():
    assert log_odds(2 * np.log(4.0), 2) == pytest.approx(np.log(1 / 3))  # p = 1/4
    assert np.isfinite(log_odds(0.0, 3))  # a reply that is certain


def test_factors_are_the_derivatives_of_the_objective():
    losses = RNG.uniform(0.5, 4, 18)

    def objective(losses):
        other, chosen, rejected = np.split(losses, [3, 9])
        more = log_odds(chosen.sum(), 6) - log_odds(rejected.sum(), 9)
        return other.sum() + 0.5 * (chosen.sum() + 6 * 0.3 * np.logaddexp(0, -more))

    found = OBJECTIVE.factors([0, 1, 2], EXAMPLES, losses)
    for place, factor in enumerate(found):
        step = np.eye(18)[place] * 1e-5
        slope = (objective(losses + step) - objective(losses - step)) / 2e-5
        assert factor == pytest.approx(slope, abs=1e-5), place
    assert (found[9:] < 0).all() and (found[3:9] > 0.5).all()


def test_the_question_of_a_chosen_reply_takes_no_part_in_the_comparison():
    asked = Example(CHOSEN.tokens, CHOSEN.labels.copy())
    asked.labels[1:3] = PROMPT[2:]
    losses = RNG.uniform(0.5, 4, 17)
    found = OBJECTIVE.factors([1, 2], [OTHER, asked, REJECTED], losses)
    assert found[:2].tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(found[2:], OBJECTIVE.factors([1, 2], EXAMPLES, losses[2:]))


def test_a_packed_sequence_without_a_pair_has_weights_alone():
    assert OBJECTIVE.factors([0], EXAMPLES, np.ones(3)).tolist() == [1, 1, 1]
    assert Objective().is_plain and not OBJECTIVE.is_plain and OBJECTIVE.trained(3) == [0, 1]


def test_both_replies_stand_in_one_sequence():
    rows = plan_sequences(EXAMPLES, 20, [1, 0], beside={1: 2})
    assert rows == [[1, 2], [0]]
    assert plan_sequences(EXAMPLES, 99, [0, 1], beside={1: 2}) == [[0, 1, 2]]


def test_replies_to_different_prompts_are_not_compared():
    moved = labelled_example([9, *REJECTED.tokens[1:].tolist()], start=len(PROMPT))
    unanswered = Example(REJECTED.tokens, np.full_like(REJECTED.labels, IGNORE_INDEX))
    assert are_comparable(CHOSEN, REJECTED, 23) and not are_comparable(CHOSEN, REJECTED, 22)
    assert not are_comparable(CHOSEN, moved, 99) and not are_comparable(CHOSEN, unanswered, 99)
