"""Reads a GGUF file in place, without copying its tensors.

Design choices:
- tensors stay file-mapped; `raw` hands out the quantized bytes themselves, never a copy;
- token lists (tens of thousands of strings) are skipped: llama.cpp has the tokenizer;
- a model split into several files is one model, opened by its first part, as in llama.cpp;
- every size is checked before use, so a truncated or foreign file gives one clear error.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3, little endian).
"""

import hashlib
import re
from pathlib import Path

import numpy as np

from ..errors import UsageError
from .gguf_header import GgufPart, Tensor

PART_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")  # llama_split_path, the one form llama.cpp finds parts by
MOST_PARTS = 999


class GgufFile:
    """A GGUF file opened for reading, with the further parts of a split one: `metadata`, `tensors`, raw blocks."""

    def __init__(self, path: Path):
        self.path = Path(path)
        first = GgufPart(self.path)
        self.metadata, self.tensors, self._parts = first.metadata, first.tensors, [first]
        self.paths = _part_paths(first)
        for number, path in enumerate(self.paths[1:], start=1):
            self._add(GgufPart(path, number))
        total = self.metadata.get("split.tensors.count", len(self.tensors))
        if len(self.paths) > 1 and total != len(self.tensors):
            raise first.damaged(f"its {len(self.paths)} parts hold {len(self.tensors)} tensors, not {total}")

    def raw(self, name: str) -> np.ndarray:
        """The tensor's stored bytes, file-mapped: uint8 (rows, bytes per row)."""
        tensor = self.tensor(name)
        stored = self._parts[tensor.part].bytes[tensor.offset : tensor.offset + tensor.bytes]
        return stored.reshape(-1, tensor.row_bytes)

    def tensor(self, name: str) -> Tensor:
        """Where the tensor lies. UsageError for an unknown name."""
        if name not in self.tensors:
            raise UsageError(f"{self.path.name} has no tensor {name}; it is not a complete model of its architecture")
        return self.tensors[name]

    def release(self, name: str) -> None:
        """Drop a tensor's pages from the process's memory; they are read again when needed."""
        tensor = self.tensor(name)
        self._parts[tensor.part].release(tensor.offset, tensor.bytes)

    def strings(self, key: str) -> list[bytes]:
        """All strings of an array in the metadata, however long; empty where there is none."""
        return self._parts[0].strings(key)

    def _add(self, part: GgufPart) -> None:
        expected = {"split.no": part.number, "split.count": len(self.paths)}
        if any(part.metadata.get(key) != value for key, value in expected.items()):
            raise part.damaged(f"not part {part.number + 1} of {len(self.paths)} of {self.path.name}")
        if twice := set(part.tensors) & set(self.tensors):
            raise part.damaged(f"{min(twice)} is in an earlier part as well")
        self.tensors |= part.tensors
        self._parts.append(part)


def sha256(*paths: Path) -> str:
    """SHA-256 of the files' bytes, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:  # read, not mapped: mapped pages would count as this process's memory
            while part := file.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def model_paths(path: Path) -> list[Path]:
    """The files that make up a model: the parts of a split GGUF, or the one file."""
    return GgufFile(path).paths if PART_NAME.fullmatch(path.name) else [path]


def _part_paths(first: GgufPart) -> list[Path]:
    """The paths of a split model's parts, the first one's first; UsageError where `first` is not that."""
    path, count, number = first.path, first.metadata.get("split.count", 0), first.metadata.get("split.no", 0)
    if not isinstance(count, int) or not isinstance(number, int) or count > MOST_PARTS:
        raise first.damaged(f"part {number!r} of {count!r}")
    if count <= 1:
        return [path]
    named = PART_NAME.fullmatch(path.name)
    if not named or int(named[3]) != count:
        wanted = f"NAME-{number + 1:05}-of-{count:05}.gguf"
        raise UsageError(
            f"{path.name} is a part of a split model; its name must end like {wanted}, as it was published"
        )
    paths = [path.with_name(f"{named[1]}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]
    if number or path != paths[0]:
        raise UsageError(f"{path.name} is part {number + 1} of {count}; give the first one, {paths[0].name}")
    for part in paths:
        if not part.is_file():
            raise UsageError(f"the part {part.name} of {count} is missing; put it beside {path.name}")
    return paths
