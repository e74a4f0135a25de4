"""What BaseModel asks of an inference engine: llama_engine.LlamaEngine and onnx_engine.OnnxEngine.

An engine decodes tokens of several sequences and keeps their KV cache. Each decoded token gives logits and a
last-layer embedding. Both engines read the same tokens and the same adapters.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

BATCH_TOKENS = 128  # decoded at once; an engine keeps a row of logits for each


class BatchToken(NamedTuple):
    """One token of a batch: its position in its sequence, and whether its logits or embedding will be read."""

    token: int
    position: int
    sequence: int
    output: bool


class Engine(Protocol):
    """A loaded model with `cells` KV cells for all sequences together. For one thread at a time.

    `sequences` are those that were asked for, or fewer where each would keep a large state.
    `metadata` has the GGUF names of the architecture and of the chat template. Where `shares_cells` is true, sequences
    that begin with the same tokens (see `copy_sequence`) hold these cells once. Where `cuts_sequences` is false, the
    model keeps a state in place of KV cells, so that a sequence can be removed only whole and copied only whole. Where
    `embeds_with_logits` is false, a token decoded for its embedding has no logits.
    """

    metadata: dict[str, Any]
    hidden: int
    vocabulary: int
    cells: int
    sequences: int
    shares_cells: bool
    cuts_sequences: bool
    embeds_with_logits: bool

    def close(self) -> None: ...

    @property
    def closed(self) -> bool: ...

    def tokenize(self, text: str, special: bool, begin: bool = False) -> list[int]:
        """Token ids; `special` reads control tokens, `begin` puts the model's first token in front."""

    def piece(self, token: int) -> bytes:
        """A token's bytes; empty for a control token."""

    @property
    def control_texts(self) -> list[str]:
        """The texts of the vocabulary's control tokens."""

    @property
    def user_defined_texts(self) -> list[str]:
        """The texts of tokens that were added to the vocabulary by hand and are read in any text: `<think>`, `<b>`."""

    @property
    def end_of_text(self) -> int: ...

    def is_end(self, token: int) -> bool:
        """Whether generation ends with this token."""

    def text_of(self, which: Literal["bos", "eos"]) -> str:
        """The text of the first or last token of a text; empty where the model has none."""

    def decode(self, batch: list[BatchToken], embeddings: bool = False) -> None:
        """Decode up to BATCH_TOKENS tokens. UsageError where no KV cells are left; all sequences are empty then."""

    def logits(self, index: int) -> np.ndarray:
        """Logits float32 (vocabulary,) of a token of the last batch; valid until the next `decode`."""

    def embedding(self, index: int) -> np.ndarray:
        """Last-layer embedding float32 (hidden,) of a token of the last batch."""

    def clear(self) -> None:
        """Empty all sequences."""

    def remove_sequence(self, sequence: int, start: int = 0) -> int:
        """Remove a sequence's tokens from position `start` on; returns how many stay.

        That is `start`, or 0 where the sequence cannot be cut there.
        """

    def copy_sequence(self, source: int, target: int, length: int) -> None:
        """Let the empty sequence `target` begin with the first `length` tokens of `source`."""

    def sampler(self, temperature: float, top_p: float, seed: int) -> Any:
        """A sampler of this engine's own type; temperature 0 is greedy. Free it with `free_sampler`."""

    def free_sampler(self, sampler: Any) -> None: ...

    def sample(self, sampler: Any, index: int) -> int:
        """A token chosen from the logits of a token of the last batch."""

    def set_adapter(self, path: Path | None, scale: float) -> None:
        """Load a LoRA adapter, or remove it (None), and empty all sequences.

        DamagedDataError for a file that is no adapter for this model; the one in use stays then.
        """


def batches(tokens: list[BatchToken], size: int = BATCH_TOKENS) -> Iterator[list[BatchToken]]:
    """The tokens in parts of at most `size`."""
    for start in range(0, len(tokens), size):
        yield tokens[start : start + size]
