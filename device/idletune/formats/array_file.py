"""A file of named arrays that is mapped into memory, not read: pages come when they are used, and can be let go again.

Layout: the arrays, each from a multiple of ALIGNMENT on; a JSON object {name: [dtype, shape, offset]}; its length as
uint64 and the CRC-32 of everything before as uint32, little-endian. The sum stands at the end because arrays are
written one after the other and are never in memory together. It finds what storage or a crash damaged; a digest
would be no guard against people, as it stands in the same file, and takes eight times as long.
"""

import json
import math
import mmap
import os
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from ..errors import DamagedDataError

ALIGNMENT = 64  # bytes: a cache line, and a whole number of values of every type
DTYPES = ("int8", "float32")
BLOCK = 1 << 20  # bytes that are read at a time for the sum
LENGTH, SUM = struct.Struct("<Q"), struct.Struct("<I")


class ArrayWriter:
    """Writes int8 and float32 arrays beside and renames at the end of its block: a kill leaves no file, or the whole
    one. OSError as the system says; after any error nothing is left.

    Nothing waits for the storage: what a loss of power leaves is told by the sum, and is made anew.
    """

    def __init__(self, path: Path):
        self._path, self._partial = path, path.with_suffix(".part")
        self._at, self._sum = 0, 0
        self._places: dict[str, list] = {}

    def __enter__(self) -> "ArrayWriter":
        self._file = open(os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        return self

    def add(self, name: str, array: np.ndarray) -> None:
        assert array.dtype.name in DTYPES, f"{name} is {array.dtype}"
        self._put(bytes(-self._at % ALIGNMENT))
        self._places[name] = [array.dtype.name, array.shape, self._at]
        self._put(np.ascontiguousarray(array))

    def __exit__(self, kind, *error) -> None:
        try:
            with self._file:
                if kind is None:
                    self._put_index()
            if kind is None:
                os.replace(self._partial, self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _put_index(self) -> None:
        index = json.dumps(self._places).encode()
        self._put(index)
        self._put(LENGTH.pack(len(index)))
        self._file.write(SUM.pack(self._sum))

    def _put(self, data) -> None:
        self._file.write(data)
        self._sum = crc32(data, self._sum)
        self._at += memoryview(data).nbytes


class ArrayFile:
    """A file of ArrayWriter, mapped: `arrays` are read-only views by name.

    Raises DamagedDataError when it is not what was written, OSError where it is missing or cannot be mapped.
    """

    def __init__(self, path: Path):
        self.path = path
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < LENGTH.size + SUM.size or not _is_whole(file, size):
                raise DamagedDataError(f"{path} is damaged; remove it, and it is made anew")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes = size
        self.arrays = self._views(size - SUM.size - LENGTH.size)

    def release(self) -> None:
        """Take the pages out of the process's memory; the system may keep them as cache."""
        self._advise("MADV_DONTNEED")

    def read_ahead(self) -> None:
        """Let the system read the pages from storage while other work goes on."""
        self._advise("MADV_WILLNEED")

    def _advise(self, advice: str) -> None:
        if hasattr(mmap, advice):
            self._map.madvise(getattr(mmap, advice))

    def _views(self, end: int) -> dict[str, np.ndarray]:
        (length,) = LENGTH.unpack_from(self._map, end)
        places: dict[str, Any] = json.loads(self._map[end - length : end])
        return {
            name: np.frombuffer(self._map, dtype, math.prod(shape), offset).reshape(shape)
            for name, (dtype, shape, offset) in places.items()
        }


def _is_whole(file, size: int) -> bool:
    """Whether the sum is right. The file is read, not mapped, so that its pages do not count as the process's."""
    found, left = 0, size - SUM.size
    while left:
        block = file.read(min(BLOCK, left))
        if not block:
            return False
        found, left = crc32(block, found), left - len(block)
    return file.read() == SUM.pack(found)
