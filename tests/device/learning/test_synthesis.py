import pytest
from idletune.learning.synthesis import EXAMPLES, Checker, SynthesisReport, Synthesizer, clean, paraphrase_prompt
from idletune.model.base_model import BaseModel
from idletune.model.reply import Reply
from idletune.settings import Settings

ORIGINAL = "How do I keep my bread dough warm in a cold kitchen?"


@pytest.mark.parametrize(
    "paraphrase, problem",
    [
        ("What is a good way to keep bread dough warm when the kitchen is cold?", None),
        ("", "empty"),
        (ORIGINAL.lower(), "copy"),
        ("Is there a bus to the harbour on Sunday at noon, please?", "meaning lost"),
        ("Bread dough?", "length"),
        ("Reworded: how to keep bread dough warm in a kitchen?", "prompt leak"),
        (EXAMPLES[0][1], "prompt leak"),
    ],
)
def test_each_fault_is_named(paraphrase, problem):
    assert Checker(0.25, 0.9).problem(paraphrase, ORIGINAL) == problem


def test_a_paraphrase_said_before_is_dropped():
    said = "What is a good way to keep bread dough warm when the kitchen is cold?"
    assert Checker(0.25, 0.9).problem(said, ORIGINAL, siblings=[said]) == "repeated"


def test_the_prompt_ends_where_the_paraphrase_begins():
    prompt = paraphrase_prompt("two\nlines")
    assert prompt.endswith("Original: two lines\nReworded:")
    assert clean(' "What now?"\nOriginal: next') == "What now?"
    assert clean("  \n ") == ""


class Parrot:
    """Stands in for the model: answers every prompt with the next of its lines."""

    def __init__(self, lines):
        self.lines, self.seeds = iter(lines), None

    def tokenize(self, text, begin=False):
        return [0] * len(text)

    def fits(self, tokens):
        return tokens <= 2048

    def generate(self, prompts, *, seeds, **_):
        self.seeds = seeds
        return [Reply(next(self.lines), [], None, "end", 0) for _ in prompts]


def test_questions_of_any_script_are_checked_for_their_meaning():
    checker, question = Checker(0.25, 0.9), "Как долго варить яйцо, чтобы оно было мягким?"
    assert checker.problem("Сколько минут варить яйцо, чтобы оно вышло мягким?", question) is None
    assert checker.problem("Когда отходит последний автобус в сторону гавани?", question) == "meaning lost"
    assert checker.problem("今天", "今天北京的天气怎么样？") == "length"


@pytest.mark.parametrize(
    "long", ["what is this? " * 200, "今天天气怎么样？" * 22, "x" * 1200], ids=["words", "tokens", "one word"]
)
def test_a_question_too_long_to_be_reworded_keeps_no_other_from_it(tiny_path, long):
    settings, report = Settings(paraphrases=2), SynthesisReport()
    with BaseModel(tiny_path, context_tokens=256, threads=1) as model:
        accepted = Synthesizer(model, settings).paraphrase([long, ORIGINAL], report, seed=0)
    assert report.asked == 2 and accepted[0] == []


def test_counts_add_up_and_every_sample_has_its_own_seed():
    good = "What is a good way to keep bread dough warm when the kitchen is cold?"
    model, report = Parrot([good, good, ORIGINAL, "nothing of the kind at all, my dear friend"]), SynthesisReport()
    settings = Settings(paraphrases=4)
    (accepted,) = Synthesizer(model, settings).paraphrase([ORIGINAL], report, seed=7)
    assert accepted == [good]
    assert (report.asked, report.accepted, report.rejected) == (4, 1, 3)
    assert dict(report.dropped) == {"repeated": 1, "copy": 1, "meaning lost": 1}
    assert len(set(model.seeds)) == 4
