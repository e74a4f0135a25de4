"""What every part speaks of: the dialogue set, a question and its response."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Exchange:
    """One question of the user and the reference response, as conversation files hold them."""

    question: str
    response: str
    user: str = ""
    at: float | None = None  # when, in seconds since 1970, where the file says so


class TokenEmbeddings(NamedTuple):
    """The last-layer embeddings of an exchange's tokens, float32 (n, hidden) each; a reply may have none."""

    question: np.ndarray
    reply: np.ndarray

    @property
    def both(self) -> np.ndarray:
        return np.concatenate(self)


@dataclass(frozen=True)
class Provenance:
    """What a reply was written from: dialogue sets whose words the model was shown, adapters whose words are in it.

    `adapter_version` is the one that wrote the reply, None for the base model or another writer.
    """

    sets: frozenset[int] = frozenset()
    adapters: frozenset[int] = frozenset()
    adapter_version: int | None = None

    def joined(self, *others: "Provenance") -> "Provenance":
        """The sources of all of them; the writer is this one's."""
        every = (self, *others)
        sets = frozenset().union(*(each.sets for each in every))
        adapters = frozenset().union(*(each.adapters for each in every))
        return Provenance(sets, adapters, self.adapter_version)

    def written_by(self, adapter_version: int | None) -> "Provenance":
        """These sources, of a reply that an adapter version wrote (None: the base model)."""
        adapters = self.adapters if adapter_version is None else self.adapters | {adapter_version}
        return Provenance(self.sets, adapters, adapter_version)


UNKNOWN = Provenance()  # of an exchange that was not written here


@dataclass
class Scores:
    """The three selection scores of a dialogue set, all higher is better (DAC 2024, section 3)."""

    eoe: float  # entropy of embedding
    dss: float  # domain specific score
    idd: float  # in-domain dissimilarity


@dataclass
class DialogueSet:
    """A question, the model's own reply, and what selection knows about them.

    `embedding` is the unit-length float32 vector of the text, shape (hidden,), `question_embedding` that of the
    question alone, where it is known. `response` is the user's preferred answer, None until the user was asked.
    """

    question: str
    reply: str
    domain: str
    embedding: np.ndarray
    scores: Scores
    id: int | None = None
    response: str | None = None
    created: float = 0.0
    tags: dict = field(default_factory=dict)
    question_embedding: np.ndarray | None = None
    provenance: Provenance = UNKNOWN  # of the reply; not read back with the set
    origin: str = ""  # where the exchange came from, and
    answer_origin: str = ""  # where its answer did (state/origins.py)
    labels: Mapping[str, str] = field(default_factory=dict)  # of the situation (labels.py); not read back with the set
