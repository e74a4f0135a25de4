"""BM25: against the formula summed by hand, after changes, and in scripts without spaces."""

import math

import pytest
from idletune.selection.lexical import LexicalIndex, terms


def index(*texts):
    made = LexicalIndex()
    for id, text in enumerate(texts):
        made.add(id, text)
    return made


def test_scores_are_those_of_the_formula():
    made = index("a cat sat", "a dog sat by a dog", "birds")
    mean = (3 + 6 + 1) / 3

    def part(holding, count, length):
        idf = math.log(1 + (3 - holding + 0.5) / (holding + 0.5))
        return idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean))

    expected = {1: part(1, 2, 6) + part(2, 1, 6), 0: part(2, 1, 3)}
    assert dict(made.search("Dog sat, dog!")) == pytest.approx(expected)
    assert [id for id, _ in made.search("Dog sat, dog!")] == [1, 0]


def test_of_equal_texts_the_newest_comes_first_and_strangers_never():
    made = index("the same words", "other", "the same words")
    assert [id for id, _ in made.search("same words")] == [2, 0]
    assert made.search("nothing in common") == made.search("...") == LexicalIndex().search("a") == []


def test_a_word_is_found_in_its_other_forms():
    assert terms("walking WALKED walks Gartenhaus") == ["walki", "walke", "walks", "garte"]
    assert [id for id, _ in index("we adopted two dogs", "nothing").search("an adoption?")] == [0]


@pytest.mark.parametrize(
    "text, question",
    [("我妹妹住在里昂", "妹妹在哪里"), ("น้องสาวอยู่ลียง", "น้องสาว"), ("сестра живёт в Берлине", "где Берлин")],
)
def test_other_scripts_are_searched_as_well(text, question):
    assert [id for id, _ in index("nothing", text).search(question)] == [1]


def test_what_was_removed_leaves_no_word_behind():
    made, never = index("a cat sat", "a secret dog", "birds"), index("a cat sat", "birds")
    made.remove(1)
    made.remove(1)
    assert "secre" not in str(vars(made)) and len(made) == 2
    assert [score for _, score in made.search("a cat")] == [score for _, score in never.search("a cat")]
    made.add(0, "a fish")
    assert made.search("cat") == [] and [id for id, _ in made.search("fish")] == [0]


def test_coverage_weighs_rare_words_more():
    made = index("a cat sat", "a dog", "a bird")
    assert made.coverage(0, "the cat") == pytest.approx(1 / 2)
    assert made.coverage(0, "a cat sat") == 1 and made.coverage(1, "a cat") < 0.5 and made.coverage(1, "") == 0
