"""Quantized weights in files, mapped: int8 speed without int8's memory.

Design choices:
- they are a function of the base model alone: nothing of the user's is in them, and they can be removed at any time;
- mapped pages that were not written to can be taken by the system when it needs memory, and are read again from
  storage. They do not count as memory of the process that only its end sets free (RssAnon in proc(5));
- a file for each sublayer and side, and one for each group of vocabulary chunks. Each is whole or not there, so making
  them can be stopped at any time and goes on where it stood;
- two files for a matrix, not one and a transposition: the two sides have other scales (one for each column of the
  product's result), so that they differ in more than their order.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..errors import DamagedDataError
from ..formats.array_file import ArrayFile, ArrayWriter
from ..formats.model_shape import ModelShape
from .int8 import SIDES, quantized_inputs
from .int8_head import Chunk, quantized_chunk
from .lora import Lora
from .weights import OUTPUT_ROWS, Weights

SUFFIX = ".int8"
BOTH = "both"  # sides, in one file
CHUNKS_IN_FILE = 16
TOGETHER = 2  # units made at a time: numpy uses one core, and each takes the memory of a dequantized weight
Place = tuple[int, int]  # number of the layer, index of the sublayer


class Int8Files:
    """The files that training `lora` needs, in `folder`, by unit: a sublayer, or a group of vocabulary chunks.
    Sublayers below the first trained one have a forward side alone."""

    def __init__(self, folder: Path, weights: Weights, lora: Lora):
        self.folder, self._weights, self._lora = folder, weights, lora
        self._places = places(weights.shape)
        self._trained = set(self._places[-len(lora.trained_sublayers()) :])
        groups = -(-weights.shape.vocabulary // (OUTPUT_ROWS * CHUNKS_IN_FILE))
        self._sublayers = {f"layer-{place[0]:03d}-{place[1]}": place for place in self._places}
        self._outputs = {f"output-{number:03d}": number for number in range(groups)}

    @property
    def units(self) -> list[str]:
        """Names of all units, in the order of their use."""
        return [*self._sublayers, *self._outputs]

    @property
    def bytes(self) -> int:
        """About how much storage all files take."""
        return file_bytes(self._lora)

    def missing_bytes(self) -> int:
        """About how much the files take that are not there."""
        paths = [path for unit in self.units for path in self._paths(unit).values()]
        made = [path.stat().st_size for path in paths if path.is_file()]
        return max(0, self.bytes - sum(made)) if len(made) < len(paths) else 0

    def missing(self) -> list[str]:
        """Names of the units that are not there, or in part alone."""
        return [unit for unit in self.units if not all(path.is_file() for path in self._paths(unit).values())]

    def make(self, unit: str) -> None:
        """Write the files of one unit. OSError where the storage does not take it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as opened:
            paths = self._paths(unit).items()
            writers = {side: opened.enter_context(ArrayWriter(path)) for side, path in paths}
            for side, name, array in self._arrays(unit):
                writers[side].add(name, array)

    def make_all(self, units: list[str]) -> Iterator[int]:
        """Write units, two at a time, and yield how many are there. Few are begun ahead, so that a caller can stop."""
        begun: deque[Future] = deque()
        with ThreadPoolExecutor(TOGETHER) as pool:
            for number, unit in enumerate(units):
                begun.append(pool.submit(self.make, unit))
                if number >= TOGETHER:
                    begun.popleft().result()
                    yield number + 1 - TOGETHER
            for left in range(len(begun), 0, -1):
                begun.popleft().result()
                yield len(units) + 1 - left

    def map(self) -> "MappedInt8":
        """All files, mapped; one that is missing or damaged is made anew. OSError where that cannot be."""
        sublayers = {place: self._mapped(unit) for unit, place in self._sublayers.items()}
        return MappedInt8(sublayers, [self._mapped(unit)[0] for unit in self._outputs])

    def _mapped(self, unit: str) -> list[ArrayFile]:
        paths = self._paths(unit).values()
        try:
            return [ArrayFile(path) for path in paths]
        except (DamagedDataError, FileNotFoundError):
            self.make(unit)
            return [ArrayFile(path) for path in paths]

    def _paths(self, unit: str) -> dict[str, Path]:
        """The files of a unit, by side; the groups of vocabulary chunks have one for both."""
        place = self._sublayers.get(unit)
        if place is None:
            return {BOTH: self.folder / f"{unit}{SUFFIX}"}
        sides = SIDES if place in self._trained else SIDES[:1]
        return {side: self.folder / f"{unit}-{side}{SUFFIX}" for side in sides}

    def _arrays(self, unit: str) -> Iterator[tuple[str, str, np.ndarray]]:
        """What a unit's files hold: side, name, array."""
        if unit in self._outputs:
            yield from ((BOTH, *named) for named in self._output(self._outputs[unit]))
        else:
            yield from self._sublayer(self._sublayers[unit])

    def _sublayer(self, place: Place) -> Iterator[tuple[str, str, np.ndarray]]:
        """The sides, and with the forward one what stays float32. Each weight is dequantized once for both."""
        sublayer = self._weights.shape.table[place[0]].sublayers[place[1]]
        for name in sublayer.linears:
            weights = self._weights.linear(*place, name)
            if name not in sublayer.kind.int8_linears:
                yield "forward", f"{name}.weight", weights
                continue
            for side in SIDES if place in self._trained else SIDES[:1]:
                yield from ((side, *named) for named in quantized_inputs(name, weights, side).items())
        yield from (("forward", *named) for named in self._weights.vectors(*place).items())

    def _output(self, number: int) -> Iterator[tuple[str, np.ndarray]]:
        first = number * CHUNKS_IN_FILE
        for n, chunk in enumerate(self._weights.output_chunks(first, first + CHUNKS_IN_FILE)):
            yield from ((f"{n:02d}.{name}", array) for name, array in quantized_chunk(chunk).items())


class MappedInt8:
    """Mapped sublayers and output matrix. What was used last is let go, and what comes next is read ahead."""

    def __init__(self, sublayers: dict[Place, list[ArrayFile]], outputs: list[ArrayFile]):
        self._files, self._outputs = sublayers, outputs
        self._order = list(sublayers)
        self._number = {place: n for n, place in enumerate(self._order)}
        self._arrays = {
            place: {k: v for one in files for k, v in one.arrays.items()} for place, files in sublayers.items()
        }
        self._chunks = [list(_chunks_of(one)) for one in outputs]
        self._last = 0

    @property
    def bytes(self) -> int:
        """Size of the mapped files."""
        return sum(one.bytes for files in (*self._files.values(), self._outputs) for one in files)

    def sublayer(self, number: int, index: int) -> dict[str, np.ndarray]:
        """Weights by graph input name, as Int8Weights has them."""
        place, last = (number, index), self._last
        self._last = at = self._number[place]
        if at != last:
            self._release(last)
            self._read_ahead(2 * at - last if abs(at - last) == 1 else at + 1, backward=at < last)
        return self._arrays[place]

    def output_chunks(self) -> Iterator[Chunk]:
        """The chunks of the output matrix in order, by graph input name."""
        for file, after, chunks in zip(self._outputs, [*self._outputs[1:], None], self._chunks):
            if after:
                after.read_ahead()
            yield from chunks
            file.release()

    def _release(self, at: int) -> None:
        for file in self._files[self._order[at]]:
            file.release()

    def _read_ahead(self, at: int, backward: bool) -> None:
        """The side of a sublayer that the pass over it needs."""
        if 0 <= at < len(self._order):
            self._files[self._order[at]][-1 if backward else 0].read_ahead()


def places(shape: ModelShape) -> list[Place]:
    """All sublayers in the order of the forward pass."""
    return [(number, index) for number, layer in enumerate(shape.table) for index in range(len(layer.sublayers))]


def file_bytes(lora: Lora) -> int:
    """About how much storage the files take."""
    trained, shape = len(lora.trained_sublayers()), lora.shape
    order, total = places(shape), 2 * shape.vocabulary * shape.hidden
    for at, (number, index) in enumerate(order):
        sublayer = shape.table[number].sublayers[index]
        for name, linear in sublayer.linears.items():
            size, sides = linear.rows * linear.columns, 2 if at >= len(order) - trained else 1
            total += size * sides if name in sublayer.kind.int8_linears else 4 * size
    return total


def _chunks_of(file: ArrayFile) -> Iterator[Chunk]:
    """The chunks in a file: arrays of one number stand together."""
    by_number: dict[str, Chunk] = {}
    for name, array in file.arrays.items():
        number, input_name = name.split(".")
        by_number.setdefault(number, {})[input_name] = array
    return iter(by_number.values())
