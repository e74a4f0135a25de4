"""The engines there are, by name."""

from pathlib import Path

from .engine import Engine

BACKENDS = ("llama.cpp", "onnx")


def open_engine(backend: str, path: Path, *, cells: int, sequences: int, threads: int) -> Engine:
    """Open a model. Only the chosen engine's library is imported: a phone may have just one of them."""
    if backend == "onnx":
        from .onnx_engine import OnnxEngine

        return OnnxEngine(path, cells=cells, sequences=sequences, threads=threads)
    from .llama_engine import LlamaEngine

    return LlamaEngine(path, cells=cells, sequences=sequences, threads=threads)
