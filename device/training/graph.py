"""One ONNX graph on the stock ONNX Runtime, reading and writing numpy memory in place.

Design choices:
- `run` takes inputs and outputs as numpy arrays by name and copies neither: memory is planned by the
  caller, and the page allocator stays out of the inner loop;
- all graphs of a process share one thread pool and one arena. A pool for each session would keep its
  threads spinning while another session works, which costs more than half the speed on two cores.
"""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..errors import DamagedDataError, UsageError

_pool_threads: int | None = None


def _share_threads_and_memory(threads: int) -> None:
    """Set up the process-wide pool and arena; the first caller decides how many threads."""
    global _pool_threads
    if _pool_threads is None:
        ort.set_global_thread_pool_sizes(threads, 1)
        grow_by_need = ort.OrtArenaCfg({"arena_extend_strategy": 1})
        cpu = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        ort.create_and_register_allocator(cpu, grow_by_need)
        _pool_threads = threads
    if _pool_threads != threads:
        raise UsageError(
            f"this process trains with {_pool_threads} threads already, not {threads}; set threads before the first run"
        )


class Graph:
    """A loaded graph. With 1 thread, results repeat bit for bit.

    Raises DamagedDataError when the file does not load, UsageError when the process already runs graphs
    with another number of threads.
    """

    def __init__(self, path: Path, threads: int):
        _share_threads_and_memory(threads)
        options = ort.SessionOptions()
        options.use_per_session_threads = False
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own types, one for each cause
            raise DamagedDataError(f"training graph {path} does not load ({error}); export it again") from None
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def run(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        """Run on C-contiguous arrays; `outputs` names the results wanted and the arrays to hold them."""
        binding = self._session.io_binding()
        for name in self.inputs:
            array = inputs[name]
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
