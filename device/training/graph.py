"""One ONNX graph on the stock ONNX Runtime, reading and writing numpy memory in place."""

from pathlib import Path

import numpy as np

from ..model.onnx_session import open_session


class Graph:
    """A loaded graph. Raises as `open_session` does."""

    def __init__(self, path: Path, threads: int):
        self._session = open_session(path, threads)
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def run(self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
        """Run on C-contiguous arrays; `outputs` names the results wanted and the arrays to hold them.

        Nothing is copied: memory is planned by the caller, and the page allocator stays out of the inner loop.
        """
        binding = self._session.io_binding()
        for name in self.inputs:
            array = inputs[name]
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
