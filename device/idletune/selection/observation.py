"""Observing an exchange: its three scores, and the policy's decision about it."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..dialogue import UNKNOWN, DialogueSet, Provenance, Scores, TokenEmbeddings
from .buffer import AdmissionResult, Buffer
from .lexicons import Lexicons
from .scores import (
    domain_specific_score,
    dominant_domain,
    entropy_of_embedding,
    in_domain_dissimilarity,
    text_embedding,
)


@dataclass(frozen=True)
class Observation:
    """A scored dialogue set and the buffer's answer."""

    dialogue_set: DialogueSet
    admission: AdmissionResult


class Observer:
    """Scores exchanges against the lexicons and the current buffer, and has them admitted or not."""

    def __init__(self, buffer: Buffer, lexicons: Lexicons, eoe_reading: str):
        self.buffer, self.lexicons, self.eoe_reading = buffer, lexicons, eoe_reading

    def observe(
        self,
        question: str,
        reply: str,
        embeddings: TokenEmbeddings,
        created: float,
        provenance: Provenance = UNKNOWN,
        origin: str = "",
        share: float | None = None,
        labels: Mapping[str, str] = {},
    ) -> Observation:
        """Score one exchange and let the buffer decide about it; `share` is for Buffer.admit."""
        candidate = self.score(question, reply, embeddings, created, provenance, origin, labels)
        return Observation(candidate, self.buffer.admit(candidate, share))

    def score(
        self,
        question: str,
        reply: str,
        embeddings: TokenEmbeddings,
        created: float,
        provenance: Provenance = UNKNOWN,
        origin: str = "",
        labels: Mapping[str, str] = {},
    ) -> DialogueSet:
        """A dialogue set with its scores against the buffer as it is now.

        Only the question and the model's own reply count: a reference answer does not exist yet. `provenance` is the
        reply's, `origin` says where the exchange came from, `labels` in which situation.
        """
        spoken = self.lexicons.words(f"{question}\n{reply}")
        domain = dominant_domain(spoken, self.lexicons)
        embedding = text_embedding(embeddings.both)
        scores = Scores(
            eoe=entropy_of_embedding(embeddings.both, self.eoe_reading),
            dss=domain_specific_score(spoken, self.lexicons),
            idd=in_domain_dissimilarity(embedding, self.buffer.embeddings(domain)),
        )
        return DialogueSet(
            question,
            reply,
            domain,
            embedding,
            scores,
            created=created,
            question_embedding=text_embedding(embeddings.question),
            provenance=provenance,
            origin=origin,
            labels=labels,
        )
