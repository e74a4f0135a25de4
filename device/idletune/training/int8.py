"""Frozen weights as int8, for processors that multiply int8 several times as fast as float32.

Design choices:
- training passes of the trained layers and of the head use int8; everything that is measured, above all the gate's
  losses, is float32;
- which linear layers have int8 products says the sublayer's kind; K and V stay float32;
- weights are kept twice, for the forward and the backward product, because ONNX Runtime's MatMulInteger takes no
  transposed operand. Both copies together are half of the float32 weight;
- they are a function of the base model alone, so they are kept in files and mapped (int8_files.py); where that cannot
  be, they are kept in memory.
"""

from functools import cache
from pathlib import Path

import numpy as np

from ..onnx_runtime.graph import Graph
from .graph_files import GRAPHS
from .weights import Weights

INT8_GRAPHS = GRAPHS / "int8"
PROCESSOR = Path("/proc/cpuinfo")
SIDES = "forward", "backward"
BLOCK_WEIGHTS = 1 << 18  # weights that are divided at a time: they stay in the cache, and out of the peak memory


def quantize(weights: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """A float32 matrix (rows, columns) quantized symmetrically for the product of one side, with a scale for each
    column of the product's result.

    side "forward", x W^T: int8 (columns, rows) and float32 (rows,); "backward", dy W: int8 (rows, columns) and float32
    (columns,).
    """
    rows, columns = weights.shape
    axis = 1 if side == "forward" else 0  # the axis that a scale spans: the one that is summed
    scales = _scales(np.maximum(weights.max(axis), -weights.min(axis)))
    quantized = np.empty((columns, rows) if side == "forward" else (rows, columns), np.int8)
    step = max(1, BLOCK_WEIGHTS // columns)
    for at in range(0, rows, step):
        part = slice(at, at + step)
        steps = weights[part] / (scales[part, None] if side == "forward" else scales)
        np.rint(steps, out=steps)
        with np.errstate(invalid="ignore"):  # NaN: the loss tells of it
            (quantized[:, part].T if side == "forward" else quantized[part])[...] = steps
    return quantized, scales


def _scales(magnitude: np.ndarray) -> np.ndarray:
    """The scale of each result column; one of zeros alone must not divide 0 by 0."""
    return np.maximum(magnitude, np.float32(1e-30)) * np.float32(1 / 127)


def quantized_inputs(name: str, weights: np.ndarray, side: str) -> dict[str, np.ndarray]:
    """What `quantize` returns, by graph input name: NAME.forward_weight and NAME.forward_scales.

    The graphs of sublayers take a weight with two leading axes of 1. NAME and its dot may be empty, as in the head's
    graphs, which take a weight of two axes.
    """
    quantized, scales = quantize(weights, side)
    prefix = f"{name}.{side}" if name else side
    return {f"{prefix}_weight": quantized[None, None] if name else quantized, f"{prefix}_scales": scales}


class Int8Weights:
    """The sublayers of `weights` with their int8_linears quantized; a sublayer is quantized at first use and kept."""

    def __init__(self, weights: Weights):
        self._weights = weights
        self._sublayers: dict[tuple[int, int], dict] = {}

    def sublayer(self, number: int, index: int) -> dict[str, np.ndarray]:
        """Weights by graph input name: int8 products as `quantized_inputs` has them, float32 for the others."""
        if (number, index) not in self._sublayers:
            weights = self._weights.sublayer(number, index)
            int8_linears = self._weights.shape.table[number].sublayers[index].kind.int8_linears
            self._sublayers[number, index] = self._quantized(weights, int8_linears)
        return self._sublayers[number, index]

    def _quantized(self, weights: dict[str, np.ndarray], int8_linears: tuple[str, ...]) -> dict[str, np.ndarray]:
        quantized = {f"{name}.weight" for name in int8_linears}
        made = {name: array.copy() for name, array in weights.items() if name not in quantized}
        for name in int8_linears:
            for side in SIDES:
                made |= quantized_inputs(name, weights[f"{name}.weight"], side)
        return made


def use_int8(matmul_dtype: str, threads: int) -> bool:
    """Whether training multiplies in int8: the setting `matmul_dtype` and this processor decide."""
    return matmul_dtype == "int8" or matmul_dtype == "auto" and int8_is_fast(threads)


@cache
def int8_is_fast(threads: int) -> bool:
    """Whether this processor has int8 dot products, and ONNX Runtime's results on it are exact.

    Without AVX-VNNI or AVX512-VNNI, ONNX Runtime on x86-64 adds pairs of products in 16 bits, which saturate: the probe
    multiplies the largest values and looks for saturation. On Arm the list of processor features decides.
    """
    x, w = np.full((16, 256), 255, np.uint8), np.full((256, 64), 127, np.int8)
    sums = np.empty((16, 64), np.int32)
    Graph(INT8_GRAPHS / "product.onnx", threads).run({"x": x, "w": w}, {"sums": sums})
    return bool((sums == 256 * (255 - 128) * 127).all()) and has_dot_products()


def has_dot_products() -> bool:
    """False on an Arm processor that is known to lack them (Armv8.2 dot products are listed as asimddp)."""
    if not PROCESSOR.is_file():
        return True
    features = [line for line in PROCESSOR.read_text(errors="replace").splitlines() if line.startswith("Features")]
    return not features or "asimddp" in features[0].split()
