from dataclasses import replace

import pytest
from idletune.learning.gate import Evidence, judge
from idletune.settings import Settings

GOOD = Evidence(
    personal_base=5.0,
    personal_adapted=4.0,
    engine_base=5.01,
    engine_serving=5.01,
    engine_adapted=4.01,
    probe_base=3.0,
    probe_adapted=3.03,
)


def verdict(**changes):
    return judge(replace(GOOD, **changes), probe_tolerance=0.02, engine_tolerance=0.01)


def test_good_evidence_promotes():
    assert verdict().promoted and "20.0%" in verdict().reason


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"personal_adapted": 5.0, "engine_adapted": 5.0}, "did not fall"),
        ({"personal_adapted": float("nan")}, "did not fall"),
        ({"engine_serving": 4.0}, "no better than what serves"),
        ({"probe_adapted": 3.07}, "general loss rose 2.3%"),
        ({"engine_base": 4.01}, "does not apply the adapter"),
        ({"engine_adapted": 4.2}, "differ by 5.0%"),
    ],
)
def test_each_failed_check_rejects_and_says_why(changes, reason):
    assert not verdict(**changes).promoted
    assert reason in verdict(**changes).reason


def test_engines_differ_less_than_it_matters_where_next_to_nothing_is_left_to_lose():
    assert verdict(personal_adapted=0.050, engine_adapted=0.051).promoted
    assert not verdict(personal_adapted=0.050, engine_adapted=0.065).promoted


# What held-out losses fell by: 42.8% at most in the 665 cells of the selection benchmark (real conversations), 29.6% in
# the demo, 99.3% where twelve accepted copies of one line were learned and judged by one more.
@pytest.mark.parametrize(
    "fall, word", [(0.428, "promoted"), (0.75, "promoted"), (0.85, "held back"), (0.993, "held back")]
)
def test_a_loss_that_falls_to_almost_nothing_is_held_back_for_a_look(fall, word):
    adapted = 5.0 * (1 - fall)
    evidence = replace(GOOD, personal_adapted=adapted, engine_adapted=adapted)
    limit = Settings().suspicious_fall
    found = judge(evidence, probe_tolerance=0.02, engine_tolerance=0.01, suspicious_fall=limit, version=7)
    assert found.outcome.value == word and found.promoted == (word == "promoted")
    if not found.promoted:
        assert f"fell {fall:.1%}, more than 80%" in found.reason and "idletune promote 7" in found.reason


def test_what_fails_another_check_is_rejected_however_far_it_fell():
    evidence = replace(GOOD, personal_adapted=0.01, engine_adapted=0.01, probe_adapted=3.2)
    found = judge(evidence, probe_tolerance=0.02, engine_tolerance=0.01, suspicious_fall=0.8)
    assert found.outcome.value == "rejected"
