"""What BaseModel asks of an inference engine, and the two there are.

An engine decodes tokens of several sequences, keeps their KV cache, and gives logits and last-layer
embeddings of each decoded token. Both read the same tokens and the same adapters.
"""

from pathlib import Path
from typing import NamedTuple

BATCH = 128  # tokens decoded at once; an engine keeps a row of logits for each
BACKENDS = ("llama.cpp", "onnx")


class Item(NamedTuple):
    """One token to decode: where it stands, in which sequence, and whether its output is wanted."""

    token: int
    position: int
    sequence: int
    output: bool


def open_engine(backend: str, path: Path, *, cells: int, sequences: int, threads: int):
    """Each engine's library is imported only where that engine is used: a phone may carry one of them."""
    if backend == "onnx":
        from .onnx_engine import OnnxEngine

        return OnnxEngine(path, cells=cells, sequences=sequences, threads=threads)
    from .llama_engine import Engine

    return Engine(path, cells=cells, sequences=sequences, threads=threads)
