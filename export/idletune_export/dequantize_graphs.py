"""Graphs that dequantize GGUF's blocks to float32, one per block format, for tensors of any shape.

Inputs: `blocks` (rows, blocks per row, bytes per block), the stored bytes as they are, uint8 or, for Q8_0,
int8; `scales` float16 (rows, blocks per row, n), the block's n scales (ONNX cannot reinterpret bytes, so the
caller takes these few out; MXFP4 has none). Output: `weights` float32 (rows, blocks, groups, values), the rows in
order. Every formula keeps the order of operations of gguf's own `dequantize` (of ggml's for Q1_0 and Q2_0, which gguf
does not read), so the results are equal bit for bit.

Formats: ggml-common.h and ggml-quants.c. One affine form covers them: weight = quant * scale + minimum. A quant is an
integer, or in IQ4_NL, IQ4_XS and MXFP4 the entry of a table.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import spox.opset.ai.onnx.v20 as op
from idletune.onnx_runtime.dequantizer import SIGNED_FORMATS
from spox import Tensor, Var, argument, build

IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
FP4_VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # E2M1, doubled; the scale is halved


def integers(*values: int) -> Var:
    return op.const(np.array(values, np.int64))


def byte(value: int) -> Var:
    return op.const(np.uint8(value))


def field(data: Var, start: int, end: int) -> Var:
    """Bytes start..end of every block."""
    return op.slice(data, integers(start), integers(end), integers(2))


def bits(data: Var, shift: int, width: int, to: int = 0) -> Var:
    """`width` bits of every byte, from bit `shift` up, moved to bit `to` of a byte that holds nothing else."""
    if shift != to:
        data = op.bit_shift(data, byte(abs(shift - to)), direction="RIGHT" if shift > to else "LEFT")
    alone = to == 0 and shift + width == 8
    return data if alone else op.bitwise_and(data, byte(((1 << width) - 1) << to))


def bit_fields(data: Var, run: int, shifts: Iterable[int], width: int, to: int = 0) -> Var:
    """Fields of `width` bits at each of `shifts`, for every run of `run` bytes: (N, B, bytes * fields)."""
    runs = op.reshape(data, integers(0, 0, -1, run))
    parts = op.concat([bits(runs, shift, width, to) for shift in shifts], axis=3)
    return op.reshape(parts, integers(0, 0, -1))


def nibbles(data: Var) -> Var:
    """Two nibbles of every byte, the lower ones of the whole block first.

    A concatenation: stacked and reshaped instead, the graph takes a third longer.
    """
    return op.concat([bits(data, 0, 4), bits(data, 4, 4)], axis=2)


def consecutive(data: Var, width: int) -> Var:
    """The `width`-bit fields of every byte, the lowest first, byte by byte: (N, B, bytes * 8 / width)."""
    shifts = op.const(np.arange(0, 8, width, dtype=np.uint8))
    shifted = op.bit_shift(op.unsqueeze(data, integers(3)), shifts, direction="RIGHT")
    return op.reshape(op.bitwise_and(shifted, byte((1 << width) - 1)), integers(0, 0, -1))


def floats(data: Var, minus: float = 0.0) -> Var:
    """float32(data) - minus."""
    values = op.cast(data, to=np.float32)
    return op.sub(values, op.const(np.float32(minus))) if minus else values


def signed(data: Var) -> Var:
    """The bytes as int8 values, in float32 (ONNX leaves a cast of uint8 to int8 undefined above 127)."""
    return floats(op.bitwise_xor(data, byte(128)), minus=128)


def grouped(values: Var, scale: Var, groups: int, minimum: Var | None = None) -> Var:
    """value * scale (+ minimum) for `groups` equal runs of each block.

    The result keeps its four axes (rows, blocks, groups, values): ONNX Runtime would copy it for a reshape.
    """
    values = op.mul(op.reshape(values, integers(0, 0, groups, -1)), op.unsqueeze(scale, integers(3)))
    return op.add(values, op.unsqueeze(minimum, integers(3))) if minimum is not None else values


def q4_0(blocks: Var, scales: Var) -> Var:
    return grouped(floats(nibbles(field(blocks, 2, 18)), minus=8), scales, 1)


def q4_1(blocks: Var, scales: Var) -> Var:
    return grouped(floats(nibbles(field(blocks, 4, 20))), field(scales, 0, 1), 1, field(scales, 1, 2))


def fifth_bits(data: Var) -> Var:
    """The 32 bits of 4 bytes in order, each as bit 4 of a byte: the fifth bits of the quants."""
    return op.bit_shift(consecutive(data, 1), byte(4), direction="LEFT")


def q5_0(blocks: Var, scales: Var) -> Var:
    quants = op.bitwise_or(nibbles(field(blocks, 6, 22)), fifth_bits(field(blocks, 2, 6)))
    return grouped(floats(quants, minus=16), scales, 1)


def q5_1(blocks: Var, scales: Var) -> Var:
    quants = op.bitwise_or(nibbles(field(blocks, 8, 24)), fifth_bits(field(blocks, 4, 8)))
    return grouped(floats(quants), field(scales, 0, 1), 1, field(scales, 1, 2))


def q8_0(blocks: Var, scales: Var) -> Var:
    return grouped(floats(field(blocks, 2, 34)), scales, 1)


def k_scales(packed: Var, scales: Var) -> tuple[Var, Var]:
    """Q4_K's and Q5_K's 8 scales and minima, 6 bits each in 12 bytes (ggml's get_scale_min_k4)."""
    low, middle, high = field(packed, 0, 4), field(packed, 4, 8), field(packed, 8, 12)

    def joined(first: Var, second: Var) -> Var:
        top = op.bitwise_and(op.bit_shift(first, byte(2), direction="RIGHT"), byte(48))
        return floats(op.concat([bits(first, 0, 6), op.bitwise_or(second, top)], axis=2))

    scale, minimum = joined(low, bits(high, 0, 4)), joined(middle, bits(high, 4, 4))
    return op.mul(field(scales, 0, 1), scale), op.neg(op.mul(field(scales, 1, 2), minimum))


def q4_k(blocks: Var, scales: Var) -> Var:
    scale, minimum = k_scales(field(blocks, 4, 16), scales)
    return grouped(floats(bit_fields(field(blocks, 16, 144), 32, (0, 4), 4)), scale, 8, minimum)


def q5_k(blocks: Var, scales: Var) -> Var:
    scale, minimum = k_scales(field(blocks, 4, 16), scales)
    high = bit_fields(field(blocks, 16, 48), 32, range(8), 1, to=4)
    quants = op.bitwise_or(bit_fields(field(blocks, 48, 176), 32, (0, 4), 4), high)
    return grouped(floats(quants), scale, 8, minimum)


def q6_k(blocks: Var, scales: Var) -> Var:
    high = bit_fields(field(blocks, 128, 192), 32, (0, 2, 4, 6), 2, to=4)
    quants = op.bitwise_or(bit_fields(field(blocks, 0, 128), 64, (0, 4), 4), high)
    return grouped(floats(quants, minus=32), op.mul(scales, signed(field(blocks, 192, 208))), 16)


def q1_0(blocks: Var, scales: Var) -> Var:
    signs = op.mul(floats(consecutive(field(blocks, 2, 18), 1)), op.const(np.float32(2)))
    return grouped(op.sub(signs, op.const(np.float32(1))), scales, 1)


def q2_0(blocks: Var, scales: Var) -> Var:
    return grouped(floats(consecutive(field(blocks, 2, 18), 2), minus=1), scales, 1)


def q2_k(blocks: Var, scales: Var) -> Var:
    packed = field(blocks, 0, 16)
    scale = op.mul(field(scales, 0, 1), floats(bits(packed, 0, 4)))
    minimum = op.neg(op.mul(field(scales, 1, 2), floats(bits(packed, 4, 4))))
    return grouped(floats(bit_fields(field(blocks, 16, 80), 32, (0, 2, 4, 6), 2)), scale, 16, minimum)


def q3_k(blocks: Var, scales: Var) -> Var:
    """A quant is its two low bits, less 4 where its bit in the mask is not set."""
    high = bit_fields(field(blocks, 0, 32), 32, range(8), 1, to=2)
    quants = op.bitwise_or(bit_fields(field(blocks, 32, 96), 32, (0, 2, 4, 6), 2), high)
    top = bit_fields(field(blocks, 104, 108), 4, (0, 2, 4, 6), 2, to=4)
    scale = floats(op.bitwise_or(nibbles(field(blocks, 96, 104)), top), minus=32)
    return grouped(floats(quants, minus=4), op.mul(scales, scale), 16)


def looked_up(data: Var, table: tuple[int, ...], run: int) -> Var:
    """The table's entries of both nibbles of every byte, for each run of bytes the lower nibbles first.

    A byte is looked up as a whole, for the pair of its entries: nibble by nibble takes three times as long.
    """
    numbers = op.cast(op.reshape(data, integers(0, 0, -1, run)), to=np.int32)
    entries, values = np.array(table, np.float32), np.arange(256)
    pairs = op.gather(op.const(np.stack([entries[values & 15], entries[values >> 4]], axis=1)), numbers)
    return op.reshape(op.transpose(pairs, perm=[0, 1, 2, 4, 3]), integers(0, 0, -1))


def iq4_nl(blocks: Var, scales: Var) -> Var:
    return grouped(looked_up(field(blocks, 2, 18), IQ4_VALUES, 16), scales, 1)


def iq4_xs(blocks: Var, scales: Var) -> Var:
    """Its 8 scales have 6 bits: 2 upper ones each in 2 bytes, then 4 lower ones each in 4 bytes."""
    top = op.bit_shift(consecutive(field(blocks, 2, 4), 2), byte(4), direction="LEFT")
    scale = floats(op.bitwise_or(consecutive(field(blocks, 4, 8), 4), top), minus=32)
    return grouped(looked_up(field(blocks, 8, 136), IQ4_VALUES, 16), op.mul(scales, scale), 8)


def mxfp4(blocks: Var, scales: Var) -> Var:
    """Its scale is a power of two: the exponent, in a byte (E8M0 of the OCP microscaling formats)."""
    powers = op.const(np.ldexp(np.float32(1), np.arange(256) - 128).astype(np.float32))
    scale = op.gather(powers, op.cast(field(blocks, 0, 1), to=np.int32))
    return grouped(looked_up(field(blocks, 1, 17), FP4_VALUES, 16), scale, 1)


# name: (function, bytes per block, float16 scales per block)
FORMATS = {
    "Q4_0": (q4_0, 18, 1),
    "Q4_1": (q4_1, 20, 2),
    "Q5_0": (q5_0, 22, 1),
    "Q5_1": (q5_1, 24, 2),
    "Q8_0": (q8_0, 34, 1),
    "Q4_K": (q4_k, 144, 2),
    "Q5_K": (q5_k, 176, 2),
    "Q6_K": (q6_k, 210, 1),
    "Q1_0": (q1_0, 18, 1),
    "Q2_0": (q2_0, 18, 1),
    "Q2_K": (q2_k, 84, 2),
    "Q3_K": (q3_k, 110, 1),
    "IQ4_NL": (iq4_nl, 18, 1),
    "IQ4_XS": (iq4_xs, 136, 1),
    "MXFP4": (mxfp4, 17, 0),
}


def export_dequantize_graphs(folder: Path) -> None:
    """Write one `<FORMAT>.onnx` per block format into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (function, size, count) in FORMATS.items():
        blocks = argument(Tensor(np.int8 if name in SIGNED_FORMATS else np.uint8, ("N", "B", size)))
        scales = argument(Tensor(np.float16, ("N", "B", count)))
        weights = function(blocks, op.cast(scales, to=np.float32))
        inputs = {"blocks": blocks} | ({"scales": scales} if count else {})
        model = build(inputs, {"weights": weights})
        onnx.save(model, folder / f"{name}.onnx")
