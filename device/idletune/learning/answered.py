"""Answered sets: dialogue sets with the user's own answer, as training and adapter monitoring need them."""

from typing import NamedTuple

from ..selection.buffer import Buffer
from ..settings import Settings
from ..state.choices import accepted_sets
from ..state.store import Store


class AnsweredSet(NamedTuple):
    id: int
    question: str
    response: str
    origin: str
    answer_origin: str
    held_out: bool
    learned_in: int | None  # the adapter version that was trained on it, or judged by it

    @property
    def is_learned(self) -> bool:
        """Whether an adapter was trained on it; a set that judged one is marked in `learned_in` as well."""
        return self.learned_in is not None and not self.held_out


def answered_sets(buffer: Buffer) -> list[AnsweredSet]:
    """Those in the buffer, by id."""
    return [
        AnsweredSet(
            s.id, s.question, s.response, s.origin, s.answer_origin, bool(s.tags["held_out"]), s.tags["learned_in"]
        )
        for s in buffer.sets()
        if s.id is not None and s.response is not None
    ]


def weightless(store: Store, settings: Settings) -> set[int]:
    """Ids of the sets that train nothing: those answered in the model's own words, where these weigh nothing."""
    return set() if settings.choice_weight else accepted_sets(store)


def trainable_sets(store: Store, buffer: Buffer, settings: Settings) -> list[AnsweredSet]:
    """The answered sets without those that train nothing."""
    left_out = weightless(store, settings)
    return [s for s in answered_sets(buffer) if s.id not in left_out]


def ids_of(sets: list[AnsweredSet]) -> list[int]:
    return [s.id for s in sets]
