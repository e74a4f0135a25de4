"""Training passes in which the answered sets take turns: each alone, then as turns of conversations.

Retrieval shows the model earlier answers above a question, and an adapter that has met every answer alone has never
seen that. So in every second pass a few sets at a time are one conversation, others each time, and every answer in
it is learned. The passes between, each set alone, teach how a conversation begins.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from ..training.rows import Example


class Turn(NamedTuple):
    """A question and its answer; `learn_question` if its wording is learned too."""

    question: str
    response: str
    learn_question: bool = False


def alternating_passes(
    wordings: list[list[Turn]], count: int, encode: Callable[[Sequence[Turn]], Example], longest: int, seed: int
) -> tuple[list[Example], list[range]]:
    """Examples and, for each of `count` passes, the numbers of its own; every turn occurs once a pass.

    `wordings` has the turns of each answered set: its own first, then the paraphrases. `encode` makes an example of
    turns; conversations have at most `longest` tokens, a turn alone it cuts itself, if need be.
    """
    examples = [encode([turn]) for turns in wordings for turn in turns]
    passes = [range(len(examples))]
    for number in range(1, count):
        if number % 2:
            turns = _deal(wordings, np.random.default_rng([seed, number]))
            together = _conversations(turns, encode, longest)
            passes.append(range(len(examples), len(examples) + len(together)))
            examples += together
        else:
            passes.append(passes[0])
    return examples, passes


def _deal(wordings: list[list[Turn]], generator: np.random.Generator) -> list[Turn]:
    """One wording of every set in random order, then the next of each: the same answer seldom stands in a conversation
    twice, where it could be copied."""
    dealt = []
    for turns in zip_longest(*wordings):
        there = [turn for turn in turns if turn is not None]
        dealt += [there[i] for i in generator.permutation(len(there))]
    return dealt


def _conversations(turns: list[Turn], encode: Callable[[Sequence[Turn]], Example], longest: int) -> list[Example]:
    found, said, example = [], [], None
    for turn in turns:
        longer = encode([*said, turn])
        if said and len(longer.tokens) > longest:
            found.append(example)
            said, longer = [], encode([turn])
        said, example = [*said, turn], longer
    return found if example is None else [*found, example]
