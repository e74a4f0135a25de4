import random

import pytest
from idletune.learning.rouge import rouge1


def test_agrees_with_the_rouge_score_package():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1"], use_stemmer=False)
    draw, words = random.Random(0), "the cat sat on The mat, and 2 dogs ran! it's over".split()
    for _ in range(200):
        a, b = (" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(2))
        assert rouge1(a, b) == pytest.approx(scorer.score(b, a)["rouge1"].fmeasure)


@pytest.mark.parametrize(
    "text, other, expected",
    [
        ("Как дела сегодня?", "как ДЕЛА завтра", 2 / 3),
        ("schön", "sch n", 0.0),
        ("今天天气", "今天很热。", 1 / 2),
        ("東京でラーメン 2 杯", "東京でラーメン 3 杯", 8 / 9),
        ("snake_case", "snake case", 1.0),
    ],
)
def test_words_of_every_script_count(text, other, expected):
    assert rouge1(text, other) == rouge1(other, text) == pytest.approx(expected)


def test_nothing_shared_or_nothing_said_is_zero():
    assert rouge1("", "a b") == rouge1("a b", "") == rouge1("a", "b") == 0.0
