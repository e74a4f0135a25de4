from dataclasses import replace

import pytest
from idletune.learning.gate import Evidence, judge

GOOD = Evidence(
    personal_base=5.0, personal_adapted=4.0, engine_base=5.01, engine_serving=5.01, engine_adapted=4.01,
    probe_base=3.0, probe_adapted=3.03,
)


def verdict(**changes):
    return judge(replace(GOOD, **changes), probe_tolerance=0.02, engine_tolerance=0.01)


def test_good_evidence_promotes():
    assert verdict().promoted and "20.0%" in verdict().reason


@pytest.mark.parametrize("changes, reason", [
    ({"personal_adapted": 5.0, "engine_adapted": 5.0}, "did not fall"),
    ({"personal_adapted": float("nan")}, "did not fall"),
    ({"engine_serving": 4.0}, "no better than what serves"),
    ({"probe_adapted": 3.07}, "general loss rose 2.3%"),
    ({"engine_base": 4.01}, "does not apply the adapter"),
    ({"engine_adapted": 4.2}, "differ by 5.0%"),
])
def test_each_failed_check_rejects_and_says_why(changes, reason):
    assert not verdict(**changes).promoted
    assert reason in verdict(**changes).reason


def test_engines_differ_less_than_it_matters_where_next_to_nothing_is_left_to_lose():
    assert verdict(personal_adapted=0.050, engine_adapted=0.051).promoted
    assert not verdict(personal_adapted=0.050, engine_adapted=0.065).promoted
