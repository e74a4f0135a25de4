"""Four-bit weights for onnxruntime's MatMulNBits that lose least where the model multiplies most.

onnxruntime's quantizer rounds each block of 32 between its smallest and largest value. Here a few scales
around that one and both neighbouring zero points are tried, the scale is fitted anew by least squares, and
the block keeps what has the smallest error weighted by column importance (as llama.cpp does with its
importance matrix). Layout: onnxruntime's ContribOperators.md, MatMulNBits.
"""

import numpy as np
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantizer

BLOCK = 32
SHRINKS = np.linspace(0.75, 1.05, 11, dtype=np.float32)  # of the scale that just holds the block's values


class ImportanceQuantizer(DefaultWeightOnlyQuantizer):
    """Takes the place of onnxruntime's quantizer of single nodes; `importance` is (columns,) by node name."""

    def __init__(self, config, importance: dict[str, np.ndarray]):
        super().__init__(config)
        self._importance = importance
        self._current: np.ndarray | None = None

    def quantize_matmul(self, node, graph_stack):
        self._current = self._importance.get(node.name)
        return super().quantize_matmul(node, graph_stack)

    def qbits_block_quant(self, fp32weight):
        """(columns, rows) float32 -> packed codes, scales and packed zero points."""
        if self._current is None:
            return super().qbits_block_quant(fp32weight)
        codes, scales, zeros = quantize_blocks(np.ascontiguousarray(fp32weight.T), self._current)
        if zeros.shape[1] % 2:
            zeros = np.pad(zeros, ((0, 0), (0, 1)))
        return codes[..., 0::2] | codes[..., 1::2] << 4, scales, zeros[:, 0::2] | zeros[:, 1::2] << 4


def quantize_blocks(weights: np.ndarray, importance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """weights float32 (rows, columns), importance (columns,) -> codes uint8 (rows, blocks, 32), scales float32
    and zeros uint8 (rows, blocks); a weight is (code - zero) * scale. Columns must divide by 32."""
    rows, columns = weights.shape
    blocks = weights.reshape(rows, columns // BLOCK, BLOCK)
    column_weight = importance.reshape(1, columns // BLOCK, BLOCK) + np.float32(1e-3 * importance.mean() + 1e-12)
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    widest = np.maximum((high - low) / 15, 1e-12)
    best = np.full(low.shape, np.inf, np.float32)
    codes = np.zeros(blocks.shape, np.uint8)
    scales, zeros = np.ones(low.shape, np.float32), np.zeros(low.shape, np.uint8)
    for shrink in SHRINKS:
        scale = widest * shrink
        for rounded in (np.floor, np.ceil):
            zero = np.clip(rounded(-low / scale), 0, 15)
            code = np.clip(np.rint(blocks / scale[..., None]) + zero[..., None], 0, 15)
            centered = code - zero[..., None]
            weighted = column_weight * centered
            fitted = (weighted * blocks).sum(-1) / np.maximum((weighted * centered).sum(-1), 1e-12)
            error = (column_weight * (blocks - centered * fitted[..., None]) ** 2).sum(-1)
            better = error < best
            best = np.where(better, error, best)
            codes[better] = code[better]
            scales, zeros = np.where(better, fitted, scales), np.where(better, zero, zeros).astype(np.uint8)
    return codes, scales.astype(np.float32), zeros
