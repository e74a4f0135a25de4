"""Writes small GGUF files: LoRA adapters in float32. Format: see gguf_file.py."""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .gguf_header import MAGIC, STRING
from .tensor_types import TYPE_IDS

ALIGNMENT = 32  # bytes; the format's default
FLOAT32, UINT64 = 6, 10  # value types

Value = str | int | float


def gguf_bytes(metadata: Mapping[str, Value], tensors: dict[str, np.ndarray]) -> bytes:
    """The content of a GGUF file: float32 tensors, and metadata as strings, uint64 and float32."""
    header = bytearray(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        header += _packed_string(key) + _packed_value(value)
    offset = 0
    for name, array in tensors.items():
        assert array.dtype == np.float32
        header += _packed_string(name) + struct.pack("<I", array.ndim)
        header += struct.pack(f"<{array.ndim}Q", *array.shape[::-1]) + struct.pack("<IQ", TYPE_IDS["F32"], offset)
        offset += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    header += bytes(-len(header) % ALIGNMENT)
    parts = (np.ascontiguousarray(array).tobytes() + bytes(-array.nbytes % ALIGNMENT) for array in tensors.values())
    return b"".join((header, *parts))


def write_gguf(path: Path, metadata: Mapping[str, Value], tensors: dict[str, np.ndarray]) -> None:
    """Write such a file and flush it to the disk. The caller renames it into place, so that it is never seen half."""
    with open(path, "wb") as file:
        file.write(gguf_bytes(metadata, tensors))
        file.flush()
        os.fsync(file.fileno())


def _packed_string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _packed_value(value: Value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _packed_string(value)
    if isinstance(value, int):
        return struct.pack("<IQ", UINT64, value)
    return struct.pack("<If", FLOAT32, value)
