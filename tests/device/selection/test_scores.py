"""The three selection scores against values worked out by hand, and their known traps."""

import numpy as np
import pytest
from idletune.errors import UsageError
from idletune.selection.lexicons import OTHER, Lexicons
from idletune.selection.scores import (
    domain_specific_score,
    dominant_domain,
    entropy_of_embedding,
    in_domain_dissimilarities,
    in_domain_dissimilarity,
    text_embedding,
)
from idletune.words import words

LEXICONS = Lexicons(
    {
        "cooking": ["bread", "oven"],
        "medicine": ["fever", "pill", "bread"],
        "sports": ["goal"],
    }
)


def tokens_with_norms(*norms, hidden=8):
    rows = np.zeros((len(norms), hidden), dtype=np.float32)
    rows[np.arange(len(norms)), np.arange(len(norms)) % hidden] = norms
    return rows


def unit_rows(n, hidden, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, hidden))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_token_entropy_by_hand():
    # shares 3/4 and 1/4: -(0.75 ln 0.75 + 0.25 ln 0.25) / ln 2 = 0.811278
    assert entropy_of_embedding(tokens_with_norms(3, 1)) == pytest.approx(0.811278, abs=1e-6)
    # the L2 norm counts, not the sum of values: (3, 4) has norm 5, so this is uniform
    assert entropy_of_embedding(np.array([[3, 4], [-5, 0]])) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 17, 512])
def test_uniform_norms_give_one_whatever_the_length(n):
    assert entropy_of_embedding(unit_rows(n, 32) * 7) == pytest.approx(1.0, abs=1e-6)


def test_token_entropy_stays_between_zero_and_one():
    random = np.random.default_rng(1)
    for _ in range(200):
        tokens = random.normal(size=(random.integers(1, 60), 16)) * random.exponential(size=16) ** 8
        assert 0.0 <= entropy_of_embedding(tokens) <= 1.0
    assert all(entropy_of_embedding(np.ones((n, 3))) <= 1.0 for n in range(1, 300))


def test_one_token_and_one_token_among_silent_ones_have_no_entropy():
    assert entropy_of_embedding(tokens_with_norms(5)) == 0.0
    assert entropy_of_embedding(tokens_with_norms(5, 0, 0)) == 0.0
    assert entropy_of_embedding(np.zeros((3, 4))) == 0.0


def test_token_entropy_ignores_scale_and_order():
    tokens = tokens_with_norms(1, 2, 3, 4)
    assert entropy_of_embedding(tokens * 100) == pytest.approx(entropy_of_embedding(tokens), abs=1e-6)
    assert entropy_of_embedding(tokens[::-1]) == pytest.approx(entropy_of_embedding(tokens), abs=1e-6)


def test_histogram_entropy_by_hand():
    # 100 values, one in each bin: log2(100) = 6.643856 bits; over log2(3 + 1) = 2
    last = np.arange(100, dtype=np.float32)
    tokens = np.stack([np.zeros(100), np.zeros(100), last])
    assert entropy_of_embedding(tokens, "histogram") == pytest.approx(3.321928, abs=1e-6)
    # two bins of equal weight: 1 bit, over log2(1 + 1) = 1
    assert entropy_of_embedding(np.array([[0, 0, 1, 1]]), "histogram") == pytest.approx(1.0)
    assert entropy_of_embedding(np.full((1, 4), 2.5), "histogram") == 0.0


def test_histogram_reading_looks_at_the_last_token_and_favours_short_texts():
    tokens = unit_rows(20, 64)
    changed = tokens.copy()
    changed[0] = 0
    assert entropy_of_embedding(changed, "histogram") == entropy_of_embedding(tokens, "histogram")
    assert entropy_of_embedding(tokens[-2:], "histogram") > entropy_of_embedding(tokens, "histogram")


def test_unknown_reading_names_the_known_ones():
    with pytest.raises(UsageError, match="token or histogram"):
        entropy_of_embedding(np.ones((2, 2)), "tokens")


def test_words_lower_case_possessives_and_letters_of_any_language():
    assert words("The doctor's OVEN, isn't it? 3 kids\u2019 well-known fever_pill") == [
        "the",
        "doctor",
        "oven",
        "isn't",
        "it",
        "3",
        "kids",
        "well",
        "known",
        "fever",
        "pill",
    ]
    assert words("\u00c4RZTE e\u0301t\u00e9") == ["\u00e4rzte", "\u00e9t\u00e9"]
    assert words(" ... \n") == []


def test_domain_specific_score_by_hand():
    # bread counts in two of three lexicons, fever twice in one: (1 + 1 + 2) / (3 * 5)
    text = words("Bread, FEVER fever and rain")
    assert domain_specific_score(text, LEXICONS) == pytest.approx(4 / 15)


def test_domain_specific_score_counts_repetition():
    once, thrice = words("fever rain rain rain"), words("fever fever fever rain")
    assert domain_specific_score(thrice, LEXICONS) == pytest.approx(3 * domain_specific_score(once, LEXICONS))


def test_domain_specific_score_of_nothing_is_zero():
    assert domain_specific_score([], LEXICONS) == 0.0
    assert domain_specific_score(["rain"], LEXICONS) == 0.0
    assert domain_specific_score(["rain"], Lexicons({})) == 0.0


def test_dominant_domain_has_the_largest_overlap():
    assert dominant_domain(words("oven fever pill"), LEXICONS) == "medicine"
    assert dominant_domain(words("goal goal goal oven fever"), LEXICONS) == "sports"


def test_zero_overlap_is_other_and_not_the_first_lexicon():
    assert dominant_domain(words("rain"), LEXICONS) == OTHER == "other"
    assert dominant_domain([], LEXICONS) == OTHER


def test_dominant_domain_tie_goes_to_the_first_name_in_sorted_order():
    shuffled = Lexicons({"zoo": ["x"], "art": ["y"], "law": ["z"]})
    assert dominant_domain(["x", "z"], shuffled) == "law"
    assert dominant_domain(["z", "x", "y"], shuffled) == "art"


def test_dissimilarity_by_hand_is_one_minus_cosine():
    east, north, mixed = np.array([1, 0]), np.array([0, 1]), np.array([0.6, 0.8])
    assert in_domain_dissimilarity(east, np.array([north, mixed])) == pytest.approx((1.0 + 0.4) / 2)
    assert in_domain_dissimilarity(east, np.array([east])) == pytest.approx(0.0)
    assert in_domain_dissimilarity(east, np.array([-east])) == pytest.approx(2.0)


def test_dissimilarity_is_one_when_the_domain_is_empty():
    assert in_domain_dissimilarity(np.array([1, 0]), np.empty((0, 2), np.float32)) == 1.0
    assert in_domain_dissimilarity(np.array([1, 0]), []) == 1.0


def test_dissimilarities_of_all_equal_one_by_one_without_itself():
    rows, domains = unit_rows(40, 24), ["abcd"[i % 4] for i in range(39)] + ["alone"]
    together = in_domain_dissimilarities(rows, domains)
    for i, domain in enumerate(domains):
        others = [r for r in range(40) if domains[r] == domain and r != i]
        assert together[i] == pytest.approx(in_domain_dissimilarity(rows[i], rows[others]), abs=1e-6)
    assert together[-1] == 1.0
    assert in_domain_dissimilarities(rows[:0], []).shape == (0,)


def test_text_embedding_is_the_unit_length_mean():
    embedding = text_embedding(np.array([[6, 0], [0, 8]], dtype=np.float32))
    assert embedding.dtype == np.float32
    assert embedding == pytest.approx([0.6, 0.8])
    assert np.linalg.norm(text_embedding(unit_rows(9, 64))) == pytest.approx(1.0, abs=1e-6)
    assert not text_embedding(np.array([[1.0, 0], [-1, 0]])).any()  # never NaN
