"""The engines there are, by name."""

from pathlib import Path

BACKENDS = ("llama.cpp", "onnx")


def open_engine(backend: str, path: Path, *, cells: int, sequences: int, threads: int):
    """Each engine's library is imported only where that engine is used: a phone may carry one of them."""
    if backend == "onnx":
        from .onnx_engine import OnnxEngine

        return OnnxEngine(path, cells=cells, sequences=sequences, threads=threads)
    from .llama_engine import Engine

    return Engine(path, cells=cells, sequences=sequences, threads=threads)
