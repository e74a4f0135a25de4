"""What the model answered."""

from dataclasses import dataclass
from typing import Literal

from ..dialogue import UNKNOWN, Provenance, TokenEmbeddings

Stop = Literal["end", "length", "asked"]


@dataclass
class Reply:
    """A generated text, with its tokens and the embeddings taken on the way."""

    text: str  # the answer
    tokens: list[int]
    embeddings: TokenEmbeddings | None
    stop: Stop  # at the end of the turn, at max_tokens, or because should_stop asked for it
    prompt_tokens: int
    cached_tokens: int = 0  # of these, that the KV cache held before
    left_out: int = 0  # the conversation's oldest messages for which the context had no room
    thoughts: str = ""  # the think block before the answer
    unobserved: str = ""  # why the runtime could not observe the exchange
    provenance: Provenance = UNKNOWN  # what it was written from; the runtime knows
