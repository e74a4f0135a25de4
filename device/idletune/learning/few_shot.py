"""Training as it is served: examples behind the user's other answers that fit them best, as retrieval shows them."""

from collections.abc import Callable

import numpy as np

from ..selection.lexical import LexicalIndex
from ..selection.retrieval import answered_first, few_shot_count, turns_of
from ..settings import Settings
from .answered import AnsweredSet

STREAM = 3  # of the seed's random numbers: none that training draws


def few_shot_turns(sets: list[AnsweredSet], settings: Settings, count_tokens: Callable[[str], int]) -> list[list[dict]]:
    """The turns before each set's prompt, the best set last; none before those that the share leaves out.

    The sets are those trained on: what is held out stands before none.
    """
    if not settings.few_shot_share:
        return [[] for _ in sets]
    drawn = np.random.default_rng([settings.seed, STREAM]).random(len(sets)) < settings.few_shot_share
    index = LexicalIndex()
    for number, s in enumerate(sets):
        index.add(number, f"{s.question}\n{s.response}")
    newest = list(reversed(range(len(sets))))

    def turns(number: int) -> list[dict]:
        found = answered_first([id for id, _ in index.search(sets[number].question)], newest)
        others = [other for other in found if other != number]
        lengths = (count_tokens(sets[i].question) + count_tokens(sets[i].response) for i in others)
        shown = others[: few_shot_count(lengths, settings.retrieve, settings.retrieve_tokens)][::-1]
        return [turn for other in shown for turn in turns_of(sets[other].question, sets[other].response)]

    return [turns(number) if drawn[number] else [] for number in range(len(sets))]
