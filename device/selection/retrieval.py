"""The user's own answers to questions like this one, shown to the model before the conversation.

It needs no training, so it works from the first answer on, and helps an adapter that has not learned yet.
"""

from collections.abc import Callable, Iterable

import numpy as np

from ..dialogue import DialogueSet
from .buffer import Buffer
from .scores import text_embedding


def how_many(lengths: Iterable[int], least: int, tokens: int) -> int:
    """How many of the nearest sets to show: `least`, and further ones as long as all stay within `tokens`.

    `lengths` are the sets' tokens, the nearest first. Short answers teach a manner by their number and cost little
    to read; long ones are few. None for `least` = 0.
    """
    count = used = 0
    for length in lengths if least else ():
        used += length
        if count >= least and used > tokens:
            break
        count += 1
    return count


class Retrieval:
    """The answered sets whose questions are nearest to a message, as many as `how_many` says.

    Those a conversation shows stay while the nearest is among them: what stands before it need not be read again.
    `measure` gives a text's number of tokens.
    """

    def __init__(self, buffer: Buffer, least: int, tokens: int, measure: Callable[[str], int]):
        self.buffer, self.least, self.tokens, self.measure = buffer, least, tokens, measure
        self._shown: list[int] = []

    def has_any(self) -> bool:
        """Whether there is anything to show."""
        return self.least > 0 and self.buffer.answered() > 0

    def messages(self, question_embeddings: np.ndarray) -> list[dict]:
        """The exchanges to show as turns, the nearest last; `question_embeddings` float32 (n_tokens, hidden)."""
        answered = self.nearest(text_embedding(question_embeddings))
        known = {s.id: s for s in answered}
        if not (answered and answered[0].id in self._shown and known.keys() >= set(self._shown)):
            lengths = (self.measure(s.question) + self.measure(s.response) for s in answered)
            self._shown = [s.id for s in reversed(answered[: how_many(lengths, self.least, self.tokens)])]
        return [
            {"role": role, "content": content}
            for found in map(known.get, self._shown)
            for role, content in (("user", found.question), ("assistant", found.response))
        ]

    def nearest(self, question: np.ndarray) -> list[DialogueSet]:
        """All answered dialogue sets, those first whose questions are nearest to a message's embedding (hidden,)."""
        return [s for s, _ in self.buffer.nearest(question, len(self.buffer)) if s.response is not None]

    def new_conversation(self) -> None:
        """Nothing is shown yet."""
        self._shown = []
