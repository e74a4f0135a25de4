"""Graphs that unpack GGUF's quantized blocks to float32, one per block format, for any tensor.

Inputs: `blocks` (rows, blocks per row, bytes per block), the stored bytes as they are, uint8 or, for Q8_0,
int8; `halves` float16 (rows, blocks per row, n), the block's n scales (ONNX cannot reinterpret bytes, so the
caller takes these few out). Output: `weights` float32 (rows, blocks, groups, values), the rows in order. Every
formula keeps the order of operations of gguf's own `dequantize`, so the results are equal bit for bit.

Formats: ggml-common.h and ggml-quants.c. One affine form covers them: value = code * scale + minimum.
"""

from pathlib import Path

import numpy as np
import onnx
import spox.opset.ai.onnx.v20 as op
from idletune.training.weights import SIGNED_FORMATS
from spox import Tensor, argument, build


def integers(*values):
    return op.const(np.array(values, np.int64))


def byte(value):
    return op.const(np.uint8(value))


def field(data, start, end):
    """Bytes start..end of every block."""
    return op.slice(data, integers(start), integers(end), integers(2))


def bits(data, shift, width, to=0):
    """`width` bits of every byte, from bit `shift` up, moved to bit `to` of a byte that holds nothing else."""
    if shift != to:
        data = op.bit_shift(data, byte(abs(shift - to)), direction="RIGHT" if shift > to else "LEFT")
    alone = to == 0 and shift + width == 8
    return data if alone else op.bitwise_and(data, byte(((1 << width) - 1) << to))


def unravel(data, run, shifts, width, to=0):
    """Fields of `width` bits at each of `shifts`, for every run of `run` bytes: (N, B, bytes * fields)."""
    runs = op.reshape(data, integers(0, 0, -1, run))
    parts = op.concat([bits(runs, shift, width, to) for shift in shifts], axis=3)
    return op.reshape(parts, integers(0, 0, -1))


def nibbles(data):
    """Two nibbles of every byte, the lower ones of the whole block first. (A reshape here costs a third more.)"""
    return op.concat([bits(data, 0, 4), bits(data, 4, 4)], axis=2)


def floats(data, minus=0.0):
    values = op.cast(data, to=np.float32)
    return op.sub(values, op.const(np.float32(minus))) if minus else values


def signed(data):
    """The bytes as int8 values, in float32 (ONNX leaves a cast of uint8 to int8 undefined above 127)."""
    return floats(op.bitwise_xor(data, byte(128)), minus=128)


def grouped(values, scale, groups, minimum=None):
    """value * scale (+ minimum) for `groups` equal runs of each block.

    The result keeps its four axes (rows, blocks, groups, values): a reshape would be one more copy.
    """
    values = op.mul(op.reshape(values, integers(0, 0, groups, -1)), op.unsqueeze(scale, integers(3)))
    return op.add(values, op.unsqueeze(minimum, integers(3))) if minimum is not None else values


def q4_0(blocks, halves):
    return grouped(floats(nibbles(field(blocks, 2, 18)), minus=8), halves, 1)


def q4_1(blocks, halves):
    return grouped(floats(nibbles(field(blocks, 4, 20))), field(halves, 0, 1), 1, field(halves, 1, 2))


def fifth_bits(data):
    """The 32 bits of 4 bytes in order, each as bit 4 of a byte: the fifth bits of codes."""
    shifts = op.const(np.arange(8, dtype=np.uint8))
    shifted = op.bit_shift(op.unsqueeze(data, integers(3)), shifts, direction="RIGHT")
    return op.bit_shift(op.reshape(op.bitwise_and(shifted, byte(1)), integers(0, 0, -1)), byte(4), direction="LEFT")


def q5_0(blocks, halves):
    codes = op.bitwise_or(nibbles(field(blocks, 6, 22)), fifth_bits(field(blocks, 2, 6)))
    return grouped(floats(codes, minus=16), halves, 1)


def q5_1(blocks, halves):
    codes = op.bitwise_or(nibbles(field(blocks, 8, 24)), fifth_bits(field(blocks, 4, 8)))
    return grouped(floats(codes), field(halves, 0, 1), 1, field(halves, 1, 2))


def q8_0(blocks, halves):
    return grouped(floats(field(blocks, 2, 34)), halves, 1)


def k_scales(packed, halves):
    """Q4_K's and Q5_K's 8 scales and minima, 6 bits each in 12 bytes (ggml's get_scale_min_k4)."""
    low, middle, high = field(packed, 0, 4), field(packed, 4, 8), field(packed, 8, 12)

    def joined(first, second):
        top = op.bitwise_and(op.bit_shift(first, byte(2), direction="RIGHT"), byte(48))
        return floats(op.concat([bits(first, 0, 6), op.bitwise_or(second, top)], axis=2))

    scale, minimum = joined(low, bits(high, 0, 4)), joined(middle, bits(high, 4, 4))
    return op.mul(field(halves, 0, 1), scale), op.neg(op.mul(field(halves, 1, 2), minimum))


def q4_k(blocks, halves):
    scale, minimum = k_scales(field(blocks, 4, 16), halves)
    return grouped(floats(unravel(field(blocks, 16, 144), 32, (0, 4), 4)), scale, 8, minimum)


def q5_k(blocks, halves):
    scale, minimum = k_scales(field(blocks, 4, 16), halves)
    high = unravel(field(blocks, 16, 48), 32, range(8), 1, to=4)
    codes = op.bitwise_or(unravel(field(blocks, 48, 176), 32, (0, 4), 4), high)
    return grouped(floats(codes), scale, 8, minimum)


def q6_k(blocks, halves):
    high = unravel(field(blocks, 128, 192), 32, (0, 2, 4, 6), 2, to=4)
    codes = op.bitwise_or(unravel(field(blocks, 0, 128), 64, (0, 4), 4), high)
    return grouped(floats(codes, minus=32), op.mul(halves, signed(field(blocks, 192, 208))), 16)


# name: (function, bytes per block, float16 scales per block)
FORMATS = {
    "Q4_0": (q4_0, 18, 1), "Q4_1": (q4_1, 20, 2), "Q5_0": (q5_0, 22, 1), "Q5_1": (q5_1, 24, 2),
    "Q8_0": (q8_0, 34, 1), "Q4_K": (q4_k, 144, 2), "Q5_K": (q5_k, 176, 2), "Q6_K": (q6_k, 210, 1),
}


def export_unpack_graphs(folder: Path) -> None:
    """Write one `<FORMAT>.onnx` per block format into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (function, size, scales) in FORMATS.items():
        blocks = argument(Tensor(np.int8 if name in SIGNED_FORMATS else np.uint8, ("N", "B", size)))
        halves = argument(Tensor(np.float16, ("N", "B", scales)))
        weights = function(blocks, op.cast(halves, to=np.float32))
        model = build({"blocks": blocks, "halves": halves}, {"weights": weights})
        onnx.save(model, folder / f"{name}.onnx")
