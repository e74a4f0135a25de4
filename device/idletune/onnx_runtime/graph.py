"""One ONNX graph on the stock ONNX Runtime, reading and writing numpy memory in place.

There are two bindings, the Python package and the C library, with the same bytes as results (tests compare them):
- an Android app packs libonnxruntime.so and has no package;
- the wheels for Linux, macOS and Windows carry that library too (1.32.0: libonnxruntime.so.1.32.0,
  libonnxruntime.1.32.0.dylib, onnxruntime.dll), but as a second copy beside the extension module, which exports nothing
  but its initialization. The library alone would mean two environments, thread pools and arenas in a process whose base
  model runs on the package (backend onnx), and on Windows paths that c_library does not write (wchar_t).
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

LIBRARY = "libonnxruntime.so"  # what an Android app packs


class Session(Protocol):
    """A loaded graph of either binding: session.BoundSession by the package, c_library.Session by the C API."""

    inputs: list[str]
    outputs: list[str]

    def run(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None: ...


class Graph:
    """A loaded graph, on the package onnxruntime or, where it is not installed, on its C library.

    The C library that IDLETUNE_ONNXRUNTIME names is preferred to the package. Raises DamagedDataError when the graph
    does not load, UsageError when there is no ONNX Runtime or the process has another number of threads.
    """

    def __init__(self, path: Path, threads: int):
        self._session = _open(path, threads)
        self.inputs, self.outputs = self._session.inputs, self._session.outputs

    def run(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        """Run on C-contiguous arrays; `outputs` names the outputs to compute and the arrays that receive them.

        Nothing is copied or allocated here: the caller plans the memory, so that no allocation is in the inner loop.
        """
        self._session.run(inputs, outputs)


def _open(path: Path, threads: int) -> Session:
    library = os.environ.get("IDLETUNE_ONNXRUNTIME") or (None if find_spec("onnxruntime") else LIBRARY)
    if library:
        from . import c_library

        return c_library.Session(c_library.load_library(library), path, threads)
    from .session import BoundSession

    return BoundSession(path, threads)
