"""A recorded training step on an ONNX Runtime library, compared with what was recorded. Needs no numpy.

Run: python replay.py LIBONNXRUNTIME FOLDER. Prints one line of JSON.
"""

import ctypes
import json
import mmap
import sys
from array import array
from math import prod
from pathlib import Path

from idletune.onnx_runtime.c_library import Session, load_library

BYTES = {"float32": 4, "int64": 8, "int32": 4, "uint8": 1, "int8": 1, "float16": 2, "bool": 1}


class Memory:
    """As much of a numpy array as the binding asks for."""

    def __init__(self, described: dict, folder: Path | None = None):
        self.shape, self.dtype = tuple(described["shape"]), self
        self.name, self.ndim = described["type"], len(self.shape)
        self.nbytes, self.ctypes = prod(self.shape) * BYTES[self.name], self
        if folder is None:
            self.buffer = (ctypes.c_char * max(1, self.nbytes))()
        else:
            self.buffer = self._mapped(folder / described["file"])

    @property
    def data(self) -> int:
        return ctypes.addressof(self.buffer)

    def _mapped(self, path: Path):
        if not self.nbytes:
            return (ctypes.c_char * 1)()
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE)
        return (ctypes.c_char * self.nbytes).from_buffer(self.map)


def difference(found: Memory, path: Path) -> float:
    """The largest difference, relative to the largest value."""
    got, wanted = bytes(found.buffer)[: found.nbytes], path.read_bytes()
    if got == wanted:  # unpacked weights are, and a loop over each of them takes an emulator hours
        return 0.0
    ours, theirs = array("f", got), array("f", wanted)
    largest = max(map(abs, theirs), default=0.0) or 1.0
    return max((abs(a - b) for a, b in zip(ours, theirs)), default=0.0) / largest


def main() -> None:
    library, folder = load_library(sys.argv[1]), Path(sys.argv[2])
    sessions, worst, runs = {}, {}, 0
    for line in (folder / "steps.jsonl").read_text().splitlines():
        step = json.loads(line)
        name = step["graph"]
        session = sessions.get(name) or sessions.setdefault(name, Session(library, folder / name, 1))
        inputs = {key: Memory(value, folder / "arrays") for key, value in step["inputs"].items()}
        outputs = {key: Memory(value) for key, value in step["outputs"].items()}
        session.run(inputs, outputs)
        for key, value in step["outputs"].items():
            found = difference(outputs[key], folder / "arrays" / value["file"])
            worst[key] = max(worst.get(key, 0.0), found)
        runs += 1
    key = max(worst, key=worst.get)
    print(json.dumps({"onnxruntime": library.version, "runs": runs, "largest_difference": worst[key], "at": key}))


if __name__ == "__main__":
    main()
