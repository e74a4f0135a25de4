"""Passes over answered sets: everything once a pass, alone and in conversations in turn."""

import numpy as np
import pytest
from idletune.learning.conversations import Turn, alternating_passes
from idletune.training.rows import Example


def encode(turns):
    """A token for each word of a turn, its number: what the passes are made of can be read off."""
    words = " ".join(f"{turn.question} {turn.response}" for turn in turns).split()
    return Example(np.array([int(word) for word in words], np.int32), np.zeros(len(words), np.int32))


def wordings(sets, paraphrases=2):
    return [[Turn(f"{100 * n + m}", f"{n}") for m in range(1 + paraphrases)] for n in range(1, sets + 1)]


def questions(examples):
    return [int(token) for example in examples for token in example.tokens if token >= 100]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_turn_occurs_once_a_pass(count):
    made = wordings(7)
    examples, passes = alternating_passes(made, count, encode, 8, seed=3)
    assert len(passes) == count
    for numbers in passes:
        found = questions(examples[i] for i in numbers)
        assert sorted(found) == sorted(int(turn.question) for turns in made for turn in turns)


def test_passes_take_turns_and_conversations_keep_to_their_length():
    examples, passes = alternating_passes(wordings(7), 5, encode, 8, seed=3)
    assert passes[0] == passes[2] == passes[4] and {len(examples[i].tokens) for i in passes[0]} == {2}
    assert {len(examples[i].tokens) for number in (1, 3) for i in passes[number]} <= {2, 4, 6, 8}
    assert len(passes[1]) == 6
    assert questions(examples[i] for i in passes[1]) != questions(examples[i] for i in passes[3])
    again, _ = alternating_passes(wordings(7), 5, encode, 8, seed=3)
    assert questions(again) == questions(examples)


def test_the_same_answer_is_not_beside_its_paraphrase():
    examples, passes = alternating_passes(wordings(12), 2, encode, 8, seed=0)
    together = [example.tokens[1::2] for example in (examples[i] for i in passes[1])]
    assert sum(len(set(answers)) < len(answers) for answers in together) <= 2  # where one round meets the next


def test_what_is_too_long_stands_alone():
    examples, passes = alternating_passes(wordings(3, paraphrases=0), 2, encode, 1, seed=0)
    assert [len(examples[i].tokens) for i in passes[1]] == [2, 2, 2]
