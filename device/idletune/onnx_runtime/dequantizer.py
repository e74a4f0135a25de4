"""Dequantizes GGUF's quantized blocks to float32, with one small ONNX graph per block format.

Design choices:
- a graph, not numpy: ONNX Runtime uses all cores, numpy's element-wise operations one;
- one graph serves tensors of any size: its inputs are blocks, and the number of rows and of blocks in a row is free;
- the results equal those of gguf's own `dequantize` bit for bit, so training sees the weights that llama.cpp has.

A block is a packed C struct of float16 scales and quantized weights (ggml-common.h). ONNX has no operator that
reinterprets bytes as float16, so numpy cuts the scales out of the blocks and they are an input of their own.
"""

from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..formats.gguf_file import GgufFile
from ..formats.tensor_types import TensorType
from .graph import Graph

GRAPHS = Path(__file__).parent / "graphs"
# Byte offsets of the float16 scales in a block (ggml-common.h). The first is the scale d; a second one is the minimum
# m, or, in the K formats, the scale dmin of the groups' minima. Q6_K, Q3_K and Q2_K have d behind their quantized
# weights; MXFP4 has a byte instead, an exponent, which its graph reads.
SCALE_OFFSETS = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "Q1_0": (0,),
    "Q2_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
    "MXFP4": (),
}
# The K formats divide a block of 256 weights into groups with integer scales of their own, which d multiplies.
SCALE_GROUPS = {"Q4_K": 8, "Q5_K": 8, "Q6_K": 16, "Q2_K": 16, "Q3_K": 16, "IQ4_XS": 8}
SIGNED_FORMATS = ("Q8_0",)  # ONNX leaves a cast of uint8 to int8 undefined above 127: these enter as int8
PLAIN_TYPES = ("F32", "F16", "BF16")
CHUNK_WEIGHTS = 1 << 20  # weights dequantized in one graph run


class Dequantizer:
    """Dequantizes stored rows to float32, bit for bit as gguf's own `dequantize` does."""

    def __init__(self, threads: int):
        self._threads = threads
        self._graphs: dict[str, Graph] = {}

    def dequantize(
        self, rows: np.ndarray, tensor_type: TensorType, out: np.ndarray, kept_scales: np.ndarray | None = None
    ) -> None:
        """rows uint8 (n, bytes per row) of `tensor_type` -> out float32 (n, columns), C-contiguous.

        `kept_scales` are the rows' scales, where the caller has kept what `block_scales` returned.
        """
        name = tensor_type.name
        if name in PLAIN_TYPES:
            out[...] = _plain(rows, name)
            return
        blocks = rows.reshape(len(rows), -1, tensor_type.size).view(np.int8 if name in SIGNED_FORMATS else np.uint8)
        scales = block_scales(rows, tensor_type) if kept_scales is None else kept_scales
        groups = SCALE_GROUPS.get(name, 1)
        # A few rows at a time: each operator of the graph writes a whole intermediate array, as ONNX Runtime does not
        # fuse them. In chunks these stay in the cache, and out of the peak memory.
        step = max(1, CHUNK_WEIGHTS // out.shape[1])
        for at in range(0, len(rows), step):
            part = slice(at, at + step)
            # The graph's output keeps its four axes, for a reshape in the graph would be one more copy.
            weights = out[part].reshape(len(blocks[part]), -1, groups, tensor_type.block // groups)
            self._graph(name).run({"blocks": blocks[part], "scales": scales[part]}, {"weights": weights})

    def _graph(self, name: str) -> Graph:
        if name not in self._graphs:
            self._graphs[name] = Graph(GRAPHS / f"{name}.onnx", self._threads)
        return self._graphs[name]


def refuse_unknown_types(gguf: GgufFile) -> None:
    """UsageError names a tensor of a type that cannot be dequantized here."""
    known = (*PLAIN_TYPES, *SCALE_OFFSETS)
    for tensor in gguf.tensors.values():
        if tensor.type.name not in known:
            raise UsageError(
                f"tensor {tensor.name} has the type {tensor.type.name}, which cannot be trained on; "
                f"known types: {', '.join(known)}: quantize the model to one of them"
            )


def block_scales(rows: np.ndarray, tensor_type: TensorType) -> np.ndarray:
    """The float16 scales of quantized rows: (rows, blocks per row, scales per block)."""
    blocks = rows.reshape(len(rows), -1, tensor_type.size)
    # Copied, for a view of another type needs contiguous bytes, and the scales lie a block apart.
    none = np.empty((*blocks.shape[:2], 0), np.float16)
    parts = [blocks[:, :, at : at + 2].copy().view(np.float16) for at in SCALE_OFFSETS[tensor_type.name]]
    return np.concatenate([none, *parts], axis=2)


def _plain(rows: np.ndarray, name: str) -> np.ndarray:
    if name == "F32":
        return rows.view(np.float32)
    if name == "F16":
        return rows.view(np.float16)
    return (rows.view(np.uint16).astype(np.uint32) << 16).view(np.float32)  # bfloat16: the upper half of a float32
