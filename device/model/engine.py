"""What BaseModel asks of an inference engine, whichever it is.

An engine decodes tokens of several sequences, keeps their KV cache, and gives logits and last-layer
embeddings of each decoded token. Both read the same tokens and the same adapters.
"""

from typing import NamedTuple

BATCH = 128  # tokens decoded at once; an engine keeps a row of logits for each


class Item(NamedTuple):
    """One token to decode: where it stands, in which sequence, and whether its output is wanted."""

    token: int
    position: int
    sequence: int
    output: bool
