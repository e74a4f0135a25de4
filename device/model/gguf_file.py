"""Reading a GGUF file in place, and writing small ones (adapters).

Design choices:
- tensors stay file-mapped; `raw` hands out the quantized bytes themselves, never a copy;
- token lists (tens of thousands of strings) are walked over, not kept: llama.cpp owns the tokenizer;
- every size is checked before use, so a truncated or foreign file gives one clear error.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3, little endian).
"""

import hashlib
import math
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DamagedDataError, UsageError

MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
LONGEST_KEPT_ARRAY = 1024


class TensorType(NamedTuple):
    """How a block format stores a row: `block` values in `size` bytes (ggml.h, ggml-common.h)."""

    name: str
    block: int
    size: int


TENSOR_TYPES = {
    0: TensorType("F32", 1, 4), 1: TensorType("F16", 1, 2), 30: TensorType("BF16", 1, 2),
    2: TensorType("Q4_0", 32, 18), 3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22), 7: TensorType("Q5_1", 32, 24), 8: TensorType("Q8_0", 32, 34),
    10: TensorType("Q2_K", 256, 84), 11: TensorType("Q3_K", 256, 110), 12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176), 14: TensorType("Q6_K", 256, 210),
    16: TensorType("IQ2_XXS", 256, 66), 17: TensorType("IQ2_XS", 256, 74), 18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50), 20: TensorType("IQ4_NL", 32, 18), 21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82), 23: TensorType("IQ4_XS", 256, 136), 29: TensorType("IQ1_M", 256, 56),
    34: TensorType("TQ1_0", 256, 54), 35: TensorType("TQ2_0", 256, 66), 39: TensorType("MXFP4", 32, 17),
}
TYPE_IDS = {kind.name: number for number, kind in TENSOR_TYPES.items()}


@dataclass(frozen=True)
class Tensor:
    """One tensor's place in the file; `shape` is (rows, columns) or (columns,), numpy order."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int

    @property
    def row_bytes(self) -> int:
        return self.shape[-1] // self.type.block * self.type.size

    @property
    def bytes(self) -> int:
        return math.prod(self.shape[:-1]) * self.row_bytes


class GgufFile:
    """A GGUF file opened for reading: `metadata`, `tensors`, and their raw blocks."""

    def __init__(self, path: Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise UsageError(f"no model file at {self.path}; give the path of a GGUF file with --model")
        if self.path.stat().st_size < 24:
            raise self._damaged("shorter than a GGUF header")
        with open(self.path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)
        try:
            self.metadata, self.tensors = self._read_header()
        except (struct.error, LookupError, ArithmeticError, RecursionError):
            raise self._damaged("its header ends too early or makes no sense") from None

    def raw(self, name: str) -> np.ndarray:
        """The tensor's stored bytes, file-mapped: uint8 (rows, bytes per row)."""
        tensor = self.tensor(name)
        stored = self._bytes[tensor.offset : tensor.offset + tensor.bytes]
        return stored.reshape(-1, tensor.row_bytes)

    def tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise UsageError(f"{self.path.name} has no tensor {name}; it is not a complete model of its architecture")
        return self.tensors[name]

    def release(self, name: str) -> None:
        """Let go of a tensor's pages: they count as this process's memory until then, and are read again if needed."""
        tensor = self.tensor(name)
        start = tensor.offset - tensor.offset % mmap.PAGESIZE
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, start, tensor.offset + tensor.bytes - start)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        with open(self.path, "rb") as file:  # read, not mapped: what is only passed by should not stay in memory
            while part := file.read(1 << 20):
                digest.update(part)
        return digest.hexdigest()

    def _read_header(self):
        cursor = _Cursor(self._bytes)
        if bytes(self._bytes[:4]) != MAGIC:
            raise self._damaged("not a GGUF file (wrong magic)")
        cursor.position = 4
        version, tensor_count, pair_count = cursor.scalar("I"), cursor.scalar("Q"), cursor.scalar("Q")
        if version not in (2, 3):
            raise UsageError(f"{self.path.name} is GGUF version {version}; versions 2 and 3 are read: convert it again")
        metadata = {}
        for _ in range(pair_count):
            key = cursor.string()
            metadata[key] = cursor.value(cursor.scalar("I"))
        records = [self._tensor_record(cursor) for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise self._damaged(f"an alignment of {alignment!r}")
        start = -(-cursor.position // alignment) * alignment
        return metadata, {r.name: self._placed(r, start) for r in records}

    def _tensor_record(self, cursor: "_Cursor") -> Tensor:
        name = cursor.string()
        shape = tuple(cursor.scalar("Q") for _ in range(cursor.scalar("I")))[::-1]
        number, offset = cursor.scalar("I"), cursor.scalar("Q")
        if number not in TENSOR_TYPES:
            raise UsageError(f"tensor {name} has the unknown type {number}; convert the model to Q4_1, Q8_0 or Q4_K")
        kind = TENSOR_TYPES[number]
        if not shape or 0 in shape:
            raise self._damaged(f"{name} holds no values")
        if shape[-1] % kind.block:
            raise self._damaged(
                f"rows of {name} ({shape[-1]} values) do not divide into {kind.name} blocks of {kind.block}"
            )
        return Tensor(name, shape, kind, offset)

    def _placed(self, tensor: Tensor, start: int) -> Tensor:
        placed = Tensor(tensor.name, tensor.shape, tensor.type, start + tensor.offset)
        missing = placed.offset + placed.bytes - len(self._bytes)
        if missing > 0:
            raise self._damaged(f"truncated: {missing:,} bytes of {tensor.name} are missing")
        return placed

    def _damaged(self, what: str) -> DamagedDataError:
        return DamagedDataError(f"{self.path.name}: {what}; fetch the file again")


class _Cursor:
    """Walks a GGUF header."""

    def __init__(self, data: np.ndarray):
        self.data, self.position = memoryview(data), 0

    def scalar(self, code: str):
        (value,) = struct.unpack_from("<" + code, self.data, self.position)
        self.position += struct.calcsize("<" + code)
        return value

    def string(self) -> str:
        length = self.scalar("Q")
        if length > len(self.data) - self.position:
            raise IndexError("string beyond the end")
        text = bytes(self.data[self.position : self.position + length])
        self.position += length
        return text.decode("utf-8", errors="replace")

    def value(self, kind: int):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self._array()
        if kind not in SCALARS:
            raise IndexError(f"value type {kind}")
        return self.scalar(SCALARS[kind])

    def _array(self):
        kind, count = self.scalar("I"), self.scalar("Q")
        if count <= LONGEST_KEPT_ARRAY:
            return [self.value(kind) for _ in range(count)]
        if kind == STRING:
            for _ in range(count):
                self.position += 8 + struct.unpack_from("<Q", self.data, self.position)[0]
        else:
            self.position += count * struct.calcsize(SCALARS[kind])
        return None  # walked over


def gguf_bytes(metadata: dict, tensors: dict[str, np.ndarray]) -> bytes:
    """Float32 tensors and str/int/float metadata as the content of a GGUF file."""
    alignment = 32
    header = bytearray(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        header += _packed_string(key) + _packed_value(value)
    offset = 0
    for name, array in tensors.items():
        assert array.dtype == np.float32
        header += _packed_string(name) + struct.pack("<I", array.ndim)
        header += struct.pack(f"<{array.ndim}Q", *array.shape[::-1]) + struct.pack("<IQ", TYPE_IDS["F32"], offset)
        offset += -(-array.nbytes // alignment) * alignment
    header += bytes(-len(header) % alignment)
    parts = (np.ascontiguousarray(array).tobytes() + bytes(-array.nbytes % alignment) for array in tensors.values())
    return b"".join((header, *parts))


def write_gguf(path: Path, metadata: dict, tensors: dict[str, np.ndarray]) -> None:
    """Write such a file, flushed to the disk. The caller renames it into place, so nobody meets half of it."""
    with open(path, "wb") as file:
        file.write(gguf_bytes(metadata, tensors))
        file.flush()
        os.fsync(file.fileno())


def _packed_string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _packed_value(value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _packed_string(value)
    if isinstance(value, int):
        return struct.pack("<IQ", 10, value)
    return struct.pack("<If", 6, value)
