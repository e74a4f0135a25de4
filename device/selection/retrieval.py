"""The user's own answers to questions like this one, shown to the model before the conversation.

It needs no training, so it works from the first answer on, and helps an adapter that has not learned yet.
"""

import numpy as np

from ..dialogue import DialogueSet
from .buffer import Buffer
from .scores import text_embedding


class Retrieval:
    """The `count` nearest answered sets, by the cosine of their embeddings; 0 retrieves nothing.

    Those a conversation shows stay while the nearest is among them: what stands before it need not be read again.
    """

    def __init__(self, buffer: Buffer, count: int):
        self.buffer, self.count = buffer, count
        self._shown: list[int] = []

    def has_any(self) -> bool:
        """Whether there is anything to show."""
        return self.count > 0 and self.buffer.answered() > 0

    def messages(self, question_embeddings: np.ndarray) -> list[dict]:
        """The exchanges to show as turns, the nearest last; `question_embeddings` float32 (n_tokens, hidden)."""
        answered = self.nearest(text_embedding(question_embeddings))
        known = {s.id: s for s in answered}
        if not (answered and answered[0].id in self._shown and known.keys() >= set(self._shown)):
            self._shown = [s.id for s in reversed(answered[: self.count])]
        return [
            {"role": role, "content": content}
            for found in map(known.get, self._shown)
            for role, content in (("user", found.question), ("assistant", found.response))
        ]

    def nearest(self, embedding: np.ndarray) -> list[DialogueSet]:
        """All answered dialogue sets, those nearest to a unit vector (hidden,) first."""
        return [s for s, _ in self.buffer.nearest(embedding, len(self.buffer)) if s.response is not None]

    def new_conversation(self) -> None:
        """Nothing is shown yet."""
        self._shown = []
