"""ONNX Runtime sessions by its Python package; all sessions of a process share one thread pool and one arena.

With a pool for each session, its threads spin while another session works: measured on two cores, more than half the
speed is lost.
"""

import ctypes
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..settings import cores
from ..small_files import half_character
from ..telemetry import import_onnxruntime
from .arena import ARENA

ort: Any = import_onnxruntime()
# The package publishes no types; these name what is passed about.
InferenceSession: TypeAlias = Any
OrtValue: TypeAlias = Any

_pool_threads: int | None = None


def open_session(model: Path | bytes, threads: int = 0) -> InferenceSession:
    """Load a model. `threads` 0: as many as the process has, or as there are cores; with 1, results repeat bit for bit.

    Raises DamagedDataError when it does not load, UsageError when the process has another number of threads.
    """
    _share_threads_and_memory(threads)
    options = ort.SessionOptions()
    options.use_per_session_threads = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 3
    try:
        with _as_text(model) as source:
            return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a type of its own for each cause
        name = "the graph" if isinstance(model, bytes) else model
        raise DamagedDataError(f"{name} does not load ({error}); export it again, or copy the bundle again") from None


@contextmanager
def _as_text(model: Path | bytes) -> Iterator[str | bytes]:
    """A model as onnxruntime takes it. Its paths are UTF-8: another folder is reached by its file descriptor."""
    if isinstance(model, bytes) or half_character(str(model)) is None:
        yield model if isinstance(model, bytes) else str(model)
        return
    folder = os.open(model.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{model.name}"
    finally:
        os.close(folder)


def _share_threads_and_memory(threads: int) -> None:
    """Set up the pool and the arena of the process; the first caller decides the number of threads."""
    global _pool_threads
    if _pool_threads is None:
        ort.set_global_thread_pool_sizes(threads or cores(), 1)
        cpu = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        ort.create_and_register_allocator(cpu, ort.OrtArenaCfg(ARENA))
        _pool_threads = threads or cores()
    if threads not in (0, _pool_threads):
        raise UsageError(
            f"ONNX Runtime has {_pool_threads} threads in this process already, not {threads}; "
            "set threads before the first run"
        )


class BoundSession:
    """A loaded graph that reads and writes numpy memory in place. c_library.Session is the same without the package."""

    def __init__(self, path: Path, threads: int):
        self._session = open_session(path, threads)
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def run(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        """Run on C-contiguous arrays."""
        binding = self._session.io_binding()
        for name in self.inputs:
            binding.bind_ortvalue_input(name, _values.of(inputs[name]))
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, _values.of(array))
        self._session.run_with_iobinding(binding)


class ArrayValues:
    """OrtValues over the memory of numpy arrays, made once for each array and dropped with it.

    Without the cache a run with forty arrays takes 0.14 ms longer, and a training step has about a hundred runs.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref, OrtValue]] = {}

    def of(self, array: np.ndarray) -> OrtValue:
        key = id(array)
        if key not in self._kept:
            gone = weakref.ref(array, lambda _: self._kept.pop(key, None))
            self._kept[key] = gone, ort.OrtValue.ortvalue_from_numpy(_borrowed(array))
        return self._kept[key][1]


def _borrowed(array: np.ndarray) -> np.ndarray:
    """The same memory, without a reference that keeps the array alive, as a view would."""
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    return np.ndarray(array.shape, array.dtype, memoryview(memory))


_values = ArrayValues()
