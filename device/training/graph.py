"""One ONNX graph on the stock ONNX Runtime, reading and writing numpy memory in place."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LIBRARY = "libonnxruntime.so"  # what an Android app packs


class Graph:
    """A loaded graph, on the package onnxruntime or, where it is not installed, on its C library.

    IDLETUNE_ONNXRUNTIME names the library, and goes before the package. Raises DamagedDataError when the graph does
    not load, UsageError when ONNX Runtime is not there or the process has another number of threads.
    """

    def __init__(self, path: Path, threads: int):
        self._session = _open(path, threads)
        self.inputs: list[str] = self._session.inputs
        self.outputs: list[str] = self._session.outputs

    def run(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        """Run on C-contiguous arrays; `outputs` names the results wanted and the arrays to hold them.

        Nothing is copied: memory is planned by the caller, and the page allocator stays out of the inner loop.
        """
        self._session.run(inputs, outputs)


def _open(path: Path, threads: int):
    library = os.environ.get("IDLETUNE_ONNXRUNTIME") or (None if find_spec("onnxruntime") else LIBRARY)
    if library:
        from ..model.onnxruntime_c import Session, load_library

        return Session(load_library(library), path, threads)
    from ..model.onnx_session import BoundSession

    return BoundSession(path, threads)
