"""ONNX Runtime sessions of one process: they share a thread pool and an arena.

A pool for each session would keep its threads spinning while another session works, which costs more than
half the speed on two cores.
"""

import ctypes
import weakref
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..errors import DamagedDataError, UsageError
from ..settings import cores

_pool_threads: int | None = None


def open_session(model: Path | bytes, threads: int = 0) -> ort.InferenceSession:
    """Load a model; with 1 thread its results repeat bit for bit. 0 threads: as many as the process has, or cores.

    Raises DamagedDataError when it does not load, UsageError when the process has another number of threads.
    """
    _share_threads_and_memory(threads)
    options = ort.SessionOptions()
    options.use_per_session_threads = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types, one for each cause
        name = "the graph" if isinstance(model, bytes) else model
        raise DamagedDataError(f"{name} does not load ({error}); export it again, or copy the bundle again") from None


def _share_threads_and_memory(threads: int) -> None:
    """Set up the process-wide pool and arena; the first caller decides how many threads."""
    global _pool_threads
    if _pool_threads is None:
        ort.set_global_thread_pool_sizes(threads or cores(), 1)
        grow_by_need = ort.OrtArenaCfg({"arena_extend_strategy": 1})
        cpu = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        ort.create_and_register_allocator(cpu, grow_by_need)
        _pool_threads = threads or cores()
    if threads not in (0, _pool_threads):
        raise UsageError(
            f"ONNX Runtime has {_pool_threads} threads in this process already, not {threads}; "
            "set threads before the first run"
        )


class BoundSession:
    """A loaded graph that reads and writes numpy memory in place (onnxruntime_c.Session: without the package)."""

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
    """ONNX Runtime's values over the memory of numpy arrays, made once for each array and gone with it.

    Describing some forty arrays anew for every run takes 0.14 ms longer, a hundred times a training step.
    """

    def __init__(self):
        self._kept: dict[int, tuple] = {}

    def of(self, array: np.ndarray) -> ort.OrtValue:
        key = id(array)
        if key not in self._kept:
            gone = weakref.ref(array, lambda _: self._kept.pop(key, None))
            self._kept[key] = gone, ort.OrtValue.ortvalue_from_numpy(_borrowed(array))
        return self._kept[key][1]


def _borrowed(array: np.ndarray) -> np.ndarray:
    """The same memory, without keeping the array alive as a view or a value of it would."""
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    return np.frombuffer(memory, array.dtype).reshape(array.shape)


_values = ArrayValues()
