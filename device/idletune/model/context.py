"""The open engine and what it holds: the adapter in use and the conversation's tokens in the KV cache."""

from pathlib import Path

import numpy as np

from ..dialogue import TokenEmbeddings
from ..errors import DamagedDataError, UsageError
from .engine import BatchToken, Engine
from .thinking import MARKER_TOKENS


class NonFiniteOutput(DamagedDataError):
    """Logits or embeddings with NaN or infinity: the adapter in use, or the model, is broken."""


def held(sequences: int) -> int:
    """Sequences of the engine for batches of `sequences`; the conversation, its checkpoint and the spare one take 3."""
    return max(sequences, 2) + 1


class Context:
    """The engine's sequences: 0 is the conversation's, 0 to n-1 those of a batch, and the last one is `spare`.

    A batch has `sequences` of them, or fewer where the engine opened fewer.
    The spare one holds the shared prefix of a batch, or an exchange that is only embedded. Where the engine cannot cut
    sequences, sequence 1 holds the conversation up to its last question between batches (see ConversationCache).
    """

    CHECKPOINT = 1

    def __init__(self, engine: Engine, sequences: int):
        self._engine, self.spare = engine, engine.sequences - 1
        self.sequences = min(sequences, self.spare)
        self.adapter: Path | None = None
        self.cached_tokens: list[int] = []  # of the conversation, whose KV cells sequence 0 holds
        self.checkpoint = 0  # tokens of the conversation that sequence 1 holds as well
        ids = {text: engine.tokenize(text, special=True) for text in MARKER_TOKENS}
        self._markers = {tokens[0]: text.encode() for text, tokens in ids.items() if len(tokens) == 1}

    @property
    def engine(self) -> Engine:
        """UsageError when it is closed."""
        if self._engine.closed:
            raise UsageError("the model is closed; open it again")
        return self._engine

    def decode(self, batch: list[BatchToken], embeddings: bool = False) -> None:
        """As Engine.decode; an error empties the conversation's cache as well."""
        try:
            self.engine.decode(batch, embeddings)
        except UsageError:
            self._forget_conversation()  # the engine has emptied all sequences
            raise

    def piece(self, token: int) -> bytes:
        """As Engine.piece; the markers of a think block have their text where they are control tokens, too."""
        return self._markers.get(token) or self.engine.piece(token)

    def clear(self) -> None:
        """Empty the KV cache, the conversation's part included."""
        self.engine.clear()
        self._forget_conversation()

    def set_adapter(self, path: Path | None, scale: float, known_as: Path | None) -> None:
        self.engine.set_adapter(path, scale)
        self.adapter = known_as
        self._forget_conversation()

    def check_room(self, tokens: int) -> None:
        """UsageError when so many tokens do not fit the KV cells."""
        check_fits(tokens, self.engine.cells)

    def check_finite(self, values: np.ndarray) -> None:
        """NonFiniteOutput when a value is NaN or infinity."""
        with np.errstate(all="ignore"):
            if np.isfinite(values.sum()):  # one NaN or infinity makes the sum one; half the time of testing each value
                return
        self._forget_conversation()
        whose = "the adapter is broken" if self.adapter else "the model's file is damaged; fetch it again"
        raise NonFiniteOutput(f"the model's output is not finite (NaN or infinity): {whose}")

    def embeddings(self, question: list[np.ndarray], reply: list[np.ndarray]) -> TokenEmbeddings:
        """Last-layer embeddings of each side, float32 (tokens, hidden). NonFiniteOutput as above."""
        sides = [np.reshape(rows, (-1, self.engine.hidden)).astype(np.float32) for rows in (question, reply)]
        for side in sides:
            self.check_finite(side)
        return TokenEmbeddings(*sides)

    def _forget_conversation(self) -> None:
        self.cached_tokens, self.checkpoint = [], 0


def check_fits(tokens: int, room: int) -> None:
    if tokens > room:
        raise UsageError(f"{tokens} tokens do not fit the context of {room}; shorten the text or raise context_tokens")


def common_length(first: list[int], second: list[int]) -> int:
    """The length of the longest common prefix."""
    count = 0
    for a, b in zip(first, second):
        if a != b:
            break
        count += 1
    return count
