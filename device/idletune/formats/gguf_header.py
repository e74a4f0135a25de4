"""Reads the header of one GGUF file: metadata, and where its tensors lie. Format: see gguf_file.py."""

import math
import mmap
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..small_files import is_file
from .tensor_types import TENSOR_TYPES, TensorType

MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
LONGEST_KEPT_ARRAY = 1024  # elements; the longer ones are lists of tokens


@dataclass(frozen=True)
class Tensor:
    """One tensor's place in the file; `shape` is (rows, columns) or (columns,), numpy order."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    part: int = 0  # of a split model

    @property
    def row_bytes(self) -> int:
        return self.shape[-1] // self.type.block * self.type.size

    @property
    def bytes(self) -> int:
        return math.prod(self.shape[:-1]) * self.row_bytes


class GgufPart:
    """One file of a model, mapped into memory: its metadata and the places of its tensors.

    Raises UsageError where there is no such file or its version is not known, DamagedDataError where a size in its
    header cannot be true.
    """

    def __init__(self, path: Path, number: int = 0):
        self.path, self.number = path, number
        if not is_file(self.path):
            raise UsageError(f"no model file at {self.path}; give the path of a GGUF file with --model")
        if self.path.stat().st_size < 24:
            raise self.damaged("shorter than a GGUF header")
        with open(self.path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes = np.frombuffer(self._map, np.uint8)
        self._value_offsets: dict[str, int] = {}
        try:
            self.metadata, self.tensors = self._read_header()
        except (struct.error, LookupError, ArithmeticError, RecursionError):
            raise self.damaged("its header ends too early or makes no sense") from None

    def release(self, offset: int, size: int) -> None:
        """Drop the pages of these bytes from the process's memory."""
        start = offset - offset % mmap.PAGESIZE  # madvise takes whole pages
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, start, offset + size - start)

    def strings(self, key: str) -> list[bytes]:
        if key not in self._value_offsets:
            return []
        reader = _HeaderReader(self.bytes)
        reader.position = self._value_offsets[key]
        type_id, element, count = reader.scalar("I"), reader.scalar("I"), reader.scalar("Q")
        return [reader.string_bytes() for _ in range(count)] if (type_id, element) == (ARRAY, STRING) else []

    def damaged(self, what: str) -> DamagedDataError:
        return DamagedDataError(f"{self.path.name}: {what}; fetch the file again")

    def _read_header(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        reader = _HeaderReader(self.bytes)
        if bytes(self.bytes[:4]) != MAGIC:
            raise self.damaged("not a GGUF file (wrong magic)")
        reader.position = 4
        version, tensor_count, pair_count = reader.scalar("I"), reader.scalar("Q"), reader.scalar("Q")
        if version not in (2, 3):
            raise UsageError(f"{self.path.name} is GGUF version {version}; versions 2 and 3 are read: convert it again")
        metadata: dict[str, Any] = {}
        for _ in range(pair_count):
            key = reader.string()
            if key in metadata:
                raise self.damaged(f"{key} stands in it twice")
            self._value_offsets[key] = reader.position
            metadata[key] = reader.value(reader.scalar("I"))
        records = [self._tensor_record(reader) for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise self.damaged(f"an alignment of {alignment!r}")
        start = -(-reader.position // alignment) * alignment
        if len({record.name for record in records}) < len(records):
            raise self.damaged("a tensor stands in it twice")
        return metadata, {record.name: self._placed(record, start) for record in records}

    def _tensor_record(self, reader: "_HeaderReader") -> Tensor:
        name = reader.string()
        shape = tuple(reader.scalar("Q") for _ in range(reader.scalar("I")))[::-1]
        number, offset = reader.scalar("I"), reader.scalar("Q")
        if number not in TENSOR_TYPES:
            raise UsageError(f"tensor {name} has the unknown type {number}; convert the model to Q4_1, Q8_0 or Q4_K")
        type = TENSOR_TYPES[number]
        if not shape or 0 in shape:
            raise self.damaged(f"{name} holds no values")
        if shape[-1] % type.block:
            raise self.damaged(
                f"rows of {name} ({shape[-1]} values) do not divide into {type.name} blocks of {type.block}"
            )
        return Tensor(name, shape, type, offset)

    def _placed(self, tensor: Tensor, start: int) -> Tensor:
        placed = replace(tensor, offset=start + tensor.offset, part=self.number)
        missing = placed.offset + placed.bytes - len(self.bytes)
        if missing > 0:
            raise self.damaged(f"truncated: {missing:,} bytes of {tensor.name} are missing")
        return placed


class _HeaderReader:
    """Reads the values of a GGUF header one after the other; `position` is that of the next one.

    Beyond the end of the file it raises struct.error or IndexError.
    """

    def __init__(self, data: np.ndarray):
        self.data, self.position = memoryview(data), 0  # type: ignore[arg-type]  # numpy 1.26 types no buffer

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self.data, self.position)
        self.position += struct.calcsize("<" + code)
        return value

    def string(self) -> str:
        return self.string_bytes().decode("utf-8", errors="replace")

    def string_bytes(self) -> bytes:
        length = self.scalar("Q")
        if length > len(self.data) - self.position:
            raise IndexError("string beyond the end")
        text = bytes(self.data[self.position : self.position + length])
        self.position += length
        return text

    def value(self, type_id: int) -> Any:
        if type_id == STRING:
            return self.string()
        if type_id == ARRAY:
            return self._array()
        if type_id not in SCALARS:
            raise IndexError(f"value type {type_id}")
        return self.scalar(SCALARS[type_id])

    def _array(self) -> list | None:
        """The elements of an array; None for a long one, which is skipped (see GgufFile.strings)."""
        type_id, count = self.scalar("I"), self.scalar("Q")
        if count <= LONGEST_KEPT_ARRAY:
            return [self.value(type_id) for _ in range(count)]
        if type_id == STRING:
            for _ in range(count):
                self.position += 8 + struct.unpack_from("<Q", self.data, self.position)[0]
        else:
            self.position += count * struct.calcsize(SCALARS[type_id])
        return None
