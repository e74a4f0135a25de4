"""How many answers there are to learn from, and whether a training run can go on.

A run may take several windows. Its sets are settled when it begins: answers that come in between wait
for the next one, and the training checkpoint stays valid. What is measured is kept part by part under a key
that names all they depend on; under another key they are taken anew (state/run_records.py).
"""

from collections.abc import Set
from typing import NamedTuple

from ..errors import UsageError
from ..state import dialogue_sets
from ..state.run_records import TrainingRun, last_finished_run, open_run
from ..state.store import Store
from .distinct import groups

MIN_ANSWERS_TO_TRAIN = 5  # below this there is nothing to hold out and little to learn


class TooFewAnswers(UsageError):
    """There is nothing to learn from yet, or nothing to judge by; no fault of anybody's."""


class Answer(NamedTuple):
    """An answered set, as far as it takes to tell how many there are."""

    id: int
    question: str
    response: str
    is_new: bool  # no finished run has looked at it yet


def resumable_run(store: Store) -> TrainingRun | None:
    """The open run, if all it is about is still there and answered, and something judges it."""
    found = open_run(store)
    return found if found and found.held_out and found.sets <= dialogue_sets.versions_learned(store).keys() else None


def count_answers(store: Store, enough: int, left_out: Set[int] = frozenset()) -> tuple[int, int]:
    """How many answers no finished run has looked at yet, and how many there are in all; near-duplicates count once.
    Sets `left_out`, by their ids, do not count.

    One that was rejected is not tried again without more. Texts are compared only where there may be `enough` new ones.
    """
    learned = {id: version for id, version in dialogue_sets.versions_learned(store).items() if id not in left_out}
    last = last_finished_run(store)
    seen = last.sets if last else set()  # of a damaged run: at worst they are learned from once more
    new = {id for id, version in learned.items() if version is None} - seen
    if len(new) < enough:
        return len(new), len(learned)
    answers = (answer for answer in dialogue_sets.answers(store) if answer.id in learned)
    found = groups(Answer(*answer, answer.id in new) for answer in answers)
    return sum(all(answer.is_new for answer in group) for group in found), len(found)
