"""Observing an exchange: its three scores, and the policy's decision about it."""

from dataclasses import dataclass

from ..dialogue import DialogueSet, Scores, TokenEmbeddings
from .buffer import Buffer, Offer
from .lexicons import Lexicons, words
from .scores import (
    domain_specific_score,
    dominant_domain,
    entropy_of_embedding,
    in_domain_dissimilarity,
    text_embedding,
)


@dataclass(frozen=True)
class Observation:
    """A scored dialogue set and what became of it."""

    dialogue_set: DialogueSet
    offer: Offer


class Observer:
    """Scores exchanges against the lexicons and the current buffer, and offers them to it."""

    def __init__(self, buffer: Buffer, lexicons: Lexicons, eoe_reading: str):
        self.buffer, self.lexicons, self.eoe_reading = buffer, lexicons, eoe_reading

    def observe(self, question: str, reply: str, embeddings: TokenEmbeddings, created: float) -> Observation:
        """Place one exchange.

        Only the question and the model's own reply are looked at: a reference answer does not exist yet.
        """
        spoken = words(f"{question}\n{reply}")
        domain = dominant_domain(spoken, self.lexicons)
        embedding = text_embedding(embeddings.both)
        scores = Scores(
            eoe=entropy_of_embedding(embeddings.both, self.eoe_reading),
            dss=domain_specific_score(spoken, self.lexicons),
            idd=in_domain_dissimilarity(embedding, self.buffer.embeddings(domain)),
        )
        candidate = DialogueSet(
            question, reply, domain, embedding, scores, created=created,
            question_embedding=text_embedding(embeddings.question),
        )
        return Observation(candidate, self.buffer.offer(candidate))
