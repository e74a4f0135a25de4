import pytest
from fleet_terms import terms
from idletune.errors import UsageError
from idletune.fleet.terms import Terms, spent_text


def test_they_say_in_words_what_leaves_and_what_does_not():
    told = Terms.from_dict(terms(noise_multiplier=4.0, epsilon=2.0)).told()
    assert "run by Anna" in told and "at most 2, at delta 1e-05" in told and "never leaves: your messages" in told
    assert "cannot be taken back" in told and "told to nobody" in told
    assert "WITHOUT noise: Anna may learn from it" in Terms.from_dict(terms()).told()
    assert "Also told, without noise" in Terms.from_dict(terms(tell_loss=True)).told()


def test_a_changed_number_is_another_agreement():
    one = Terms.from_dict(terms())
    assert one.digest == Terms.from_dict(one.to_dict()).digest != Terms.from_dict(terms(clipping_norm=2.0)).digest


@pytest.mark.parametrize(
    "changed",
    [
        {"clipping_norm": 0},
        {"clipping_norm": float("nan")},
        {"noise_multiplier": -1},
        {"noise_multiplier": 1.0},  # without an epsilon
        {"delta": 1},
        {"rank": 65},
        {"rank": True},
        {"phones": 2.5},
        {"fleet": "a\nb"},
        {"operator_key": "0" * 63},
        {"tell_loss": 1},
        {"surprise": 1},
    ],
)
def test_impossible_terms_are_refused(changed):
    with pytest.raises(UsageError, match="fleet|epsilon"):
        Terms.from_dict(terms(**changed))
    lacking = terms()
    del lacking["rounds"]
    with pytest.raises(UsageError, match="rounds"):
        Terms.from_dict(lacking)


def test_what_was_spent_is_told_in_words():
    assert spent_text([], 1e-5) == "no update has left this home"
    assert "1 update left this home; together they cost epsilon 1.00" in spent_text([3.7298], 1e-5)
    assert "promise no privacy" in spent_text([3.7, 0.0], 1e-5)
