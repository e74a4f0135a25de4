"""The user's own answers to questions like this one, shown to the model before the conversation.

It needs no training, so it works from the first answer on, and helps an adapter that has not learned yet.
"""

import numpy as np

from .buffer import Buffer
from .scores import text_embedding


class Retrieval:
    """The `count` nearest answered sets, by the cosine of their embeddings; 0 retrieves nothing."""

    def __init__(self, buffer: Buffer, count: int):
        self.buffer, self.count = buffer, count

    def messages(self, question_embeddings: np.ndarray) -> list[dict]:
        """The nearest exchanges as turns, the nearest last; `question_embeddings` float32 (n_tokens, hidden)."""
        return [
            {"role": role, "content": content}
            for found in reversed(self.nearest(text_embedding(question_embeddings)))
            for role, content in (("user", found.question), ("assistant", found.response))
        ]

    def nearest(self, embedding: np.ndarray) -> list:
        """The answered dialogue sets nearest to a unit vector (hidden,), the nearest first."""
        answered = (s for s, _ in self.buffer.nearest(embedding, len(self.buffer)) if s.response is not None)
        return [s for s, _ in zip(answered, range(self.count))]
