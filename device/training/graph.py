"""One ONNX graph on the stock ONNX Runtime, reading and writing numpy memory in place.

`run` takes inputs and outputs as numpy arrays by name and copies neither: the runtime writes into the
arrays it is given. That keeps memory planned by the caller and the page allocator out of the inner loop.
"""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..errors import DamagedDataError


class Graph:
    """A loaded graph. `threads` is pinned per session; with 1, results repeat bit for bit."""

    def __init__(self, path: Path, threads: int):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads would heat an idle phone between micro-steps for nothing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
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
