"""The base model's frozen weights, dequantized from the blocks of the GGUF when they are needed.

The file is mapped, not read; a small ONNX graph for each block format turns blocks into float32. A sublayer is
dequantized once into memory of its own (resident) or at every use into the same buffer (streamed), as memory allows.
"""

import math
from collections.abc import Iterator

import numpy as np

from ..errors import UsageError
from ..formats.gguf_file import GgufFile
from ..formats.model_shape import ModelShape
from ..formats.sublayers import PerLayerInput, Sublayer, Vector
from ..onnx_runtime.dequantizer import PLAIN_TYPES, Dequantizer, block_scales, refuse_unknown_types
from .pages import own_pages

# Rows of the output matrix that are dequantized and multiplied at a time. Few, for the sake of precision: float32 sums
# over a whole vocabulary lose the rare tokens, and gradients are then 20 times less precise (measured).
OUTPUT_ROWS = 1024


class Weights:
    """Frozen weights by sublayer.

    The layers in `resident` stay dequantized after their first use, the output matrix with `resident_output`; of all
    other blocks the scales are kept with `keeps_scales`. `output_norm` is the last norm's weight times the model's
    logit scale, which so needs no place of its own.
    """

    def __init__(
        self,
        gguf: GgufFile,
        shape: ModelShape,
        *,
        threads: int,
        resident: range = range(0),
        resident_output: bool = False,
        keeps_scales: bool = True,
    ):
        self.shape, self._gguf, self._resident = shape, gguf, resident
        self._dequantizer, self._keeps_scales = Dequantizer(threads), keeps_scales
        refuse_unknown_types(gguf)
        self._resident_sublayers: dict[tuple[int, int], dict] = {}
        self._scales: dict[tuple[str, int], np.ndarray] = {}
        sublayers = [one for layer in shape.table for one in layer.sublayers]
        self._buffer = own_pages(max(map(_size, sublayers)))
        self._streamed: dict[str, dict[str, np.ndarray]] = {}
        self.output_norm = self.vector(shape.output_norm, shape.hidden) * np.float32(shape.logit_scale)
        self._output_name = "output.weight" if "output.weight" in gguf.tensors else "token_embd.weight"
        self._output = self._whole_output() if resident_output else None

    def sublayer(self, number: int, index: int) -> dict[str, np.ndarray]:
        """Float32 weights of a layer's sublayer by graph input name. A streamed one is valid until the next call."""
        if (number, index) in self._resident_sublayers:
            return self._resident_sublayers[number, index]
        sublayer, resident = self.shape.table[number].sublayers[index], number in self._resident
        weights = _views(sublayer, own_pages(_size(sublayer))) if resident else self._streamed_views(sublayer)
        for name in sublayer.linears:
            self._fill(number, sublayer, name, weights[f"{name}.weight"], self._keeps_scales and not resident)
        for role, vector in self.vectors(number, index).items():
            weights[role][...] = vector
        if resident:
            self._resident_sublayers[number, index] = weights
        return weights

    def linear(self, number: int, index: int, name: str) -> np.ndarray:
        """One linear layer of a sublayer, float32 (rows, columns), in memory of its own; nothing is kept."""
        sublayer = self.shape.table[number].sublayers[index]
        out = own_pages(math.prod(sublayer.linears[name].shape)).reshape(sublayer.linears[name].shape)
        self._fill(number, sublayer, name, out, keep_scales=False)
        return out

    def vectors(self, number: int, index: int) -> dict[str, np.ndarray]:
        """Norms, biases and kernels of a sublayer by graph input name, float32."""
        sublayer = self.shape.table[number].sublayers[index]
        return {role: self._part_of_vector(number, sublayer, one) for role, one in sublayer.vectors.items()}

    def release_buffer(self) -> None:
        """Free the memory of streamed sublayers until one is wanted again."""
        self._streamed, self._buffer = {}, own_pages(len(self._buffer))

    def release_resident(self) -> None:
        """Free the dequantized layers; from now on each is dequantized at every use, to the same bits."""
        self._resident, self._resident_sublayers = range(0), {}

    def vector(self, name: str, size: int, taps: int = 0) -> np.ndarray:
        """A tensor of one axis, float32 (size,); with `taps` one of two, (size, taps)."""
        shape = (size, taps) if taps else (size,)
        out = np.empty(shape if taps else (1, size), np.float32)
        self._dequantizer.dequantize(self._checked(name, shape), self._gguf.tensor(name).type, out)
        return out.reshape(shape)

    def first_of(self, name: str, count: int) -> np.ndarray:
        """The first values of a tensor of one axis, float32 (count,), as ggml takes the divisors of rotary angles."""
        stored = self._gguf.tensor(name).shape[-1]
        if stored < count:
            raise UsageError(f"{name} has {stored} values for {count} pairs; convert the model again")
        return self.vector(name, stored)[:count]

    def embed(self, tokens: np.ndarray) -> np.ndarray:
        """Input embeddings of token ids (n,): float32 (n, hidden). Only these rows are dequantized."""
        rows = self._rows("token_embd.weight", tokens)
        rows *= np.float32(self.shape.embedding_scale)
        return rows

    def layer_embeddings(self, tokens: np.ndarray) -> np.ndarray:
        """Rows of the embeddings that layers have of their own (Gemma 4): float32 (n, layers * width)."""
        name = "per_layer_token_embd.weight"
        return self._rows(name, tokens, self._gguf.tensor(name).shape[1])

    def layer_embedding(self, sublayer: PerLayerInput, embedded: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What enters one layer beside the hidden state: float32 (n, width).

        `embedded` are the input embeddings (n, hidden), `rows` those of `layer_embeddings`. The sum of the layer's own
        embedding and of a normalized projection of the input's (gemma4.cpp, project_per_layer_inputs).
        """
        width, hidden = sublayer.width, self.shape.hidden
        part = slice(sublayer.layer * width, (sublayer.layer + 1) * width)
        name, projection = "per_layer_model_proj.weight", np.empty((width, hidden), np.float32)
        stored = self._checked(name, (sublayer.layers * width, hidden))[part]
        self._dequantizer.dequantize(stored, self._gguf.tensor(name).type, projection)
        projected = embedded @ projection.T / np.float32(np.sqrt(hidden))
        mean_square = np.mean(projected * projected, axis=1, keepdims=True)
        normed = projected / np.sqrt(mean_square + np.float32(sublayer.epsilon))
        normed *= self.vector("per_layer_proj_norm.weight", width)
        return (normed + rows[:, part] * np.float32(np.sqrt(width))) / np.float32(np.sqrt(2))

    def output_rows(self, tokens: np.ndarray) -> np.ndarray:
        """Rows of the output matrix for some tokens: float32 (n, hidden)."""
        return self._rows(self._output_name, tokens)

    def output_chunks(self, first: int = 0, last: int | None = None) -> Iterator[np.ndarray]:
        """The output matrix, OUTPUT_ROWS rows at a time (the input embedding where the two are tied); only the chunks
        from `first` to before `last`.

        A chunk is valid until the next one.
        """
        buffer, kind = np.empty((0, self.shape.hidden), np.float32), self._gguf.tensor(self._output_name).type
        for start in range(0, self.shape.vocabulary, OUTPUT_ROWS)[first:last]:
            rows = slice(start, min(start + OUTPUT_ROWS, self.shape.vocabulary))
            if self._output is not None:
                yield self._output[rows]
                continue
            if not len(buffer):
                buffer = np.empty((min(OUTPUT_ROWS, self.shape.vocabulary), self.shape.hidden), np.float32)
            chunk = buffer[: rows.stop - rows.start]
            self._dequantizer.dequantize(self._gguf.raw(self._output_name)[rows], kind, chunk)
            yield chunk
            self._gguf.release(self._output_name)

    def _whole_output(self) -> np.ndarray:
        whole = np.empty((self.shape.vocabulary, self.shape.hidden), np.float32)
        self._dequantize(self._output_name, self._checked(self._output_name, whole.shape), whole, 0, keep_scales=False)
        return whole

    def _rows(self, name: str, numbers: np.ndarray, columns: int = 0) -> np.ndarray:
        out = np.empty((len(numbers), columns or self.shape.hidden), np.float32)
        self._dequantizer.dequantize(
            np.ascontiguousarray(self._gguf.raw(name)[numbers]), self._gguf.tensor(name).type, out
        )
        self._gguf.release(name)
        return out

    def _fill(self, number: int, sublayer: Sublayer, name: str, out: np.ndarray, keep_scales: bool) -> None:
        """Dequantize one linear layer into `out`."""
        linear = sublayer.linears[name]
        whole = max(one.first_row + one.rows for one in sublayer.linears.values() if one.tensor == linear.tensor)
        tensor = f"blk.{number}.{linear.tensor}"
        rows = self._checked(tensor, (whole, linear.columns))[linear.first_row : linear.first_row + linear.rows]
        self._dequantize(tensor, rows, out, linear.first_row, keep_scales)

    def _dequantize(self, name: str, rows: np.ndarray, out: np.ndarray, first_row: int, keep_scales: bool) -> None:
        kind = self._gguf.tensor(name).type
        kept = self._kept_scales((name, first_row), rows, kind) if keep_scales else None
        self._dequantizer.dequantize(rows, kind, out, kept)
        self._gguf.release(name)

    def _checked(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        tensor = self._gguf.tensor(name)
        if tensor.shape != shape:
            raise UsageError(f"{name} is {tensor.shape}, not {shape} as the metadata says; convert the model again")
        return self._gguf.raw(name)

    def _kept_scales(self, key: tuple[str, int], rows: np.ndarray, kind) -> np.ndarray | None:
        """The scales of a streamed layer: gathering them is half of the work, keeping them a tenth of the memory."""
        if kind.name in PLAIN_TYPES:
            return None
        if key not in self._scales:
            self._scales[key] = block_scales(rows, kind)
        return self._scales[key]

    def _part_of_vector(self, number: int, sublayer: Sublayer, vector: Vector) -> np.ndarray:
        parts = [one for one in sublayer.vectors.values() if one.tensor == vector.tensor]
        whole = self.vector(f"blk.{number}.{vector.tensor}", max(one.first + one.size for one in parts), vector.taps)
        return whole[vector.first : vector.first + vector.size]

    def _streamed_views(self, sublayer: Sublayer) -> dict[str, np.ndarray]:
        """The same array objects for sublayers of the same shapes: ONNX Runtime keeps its binding to them."""
        shapes = str(_shapes(sublayer))
        if shapes not in self._streamed:
            self._streamed[shapes] = _views(sublayer, self._buffer)
        return self._streamed[shapes]


def _shapes(sublayer: Sublayer) -> dict[str, tuple[int, ...]]:
    """Shapes of a sublayer's weights by graph input name."""
    linears = {f"{name}.weight": linear.shape for name, linear in sublayer.linears.items()}
    return linears | {role: vector.shape for role, vector in sublayer.vectors.items()}


def _size(sublayer: Sublayer) -> int:
    return sum(int(np.prod(shape)) for shape in _shapes(sublayer).values())


def _views(sublayer: Sublayer, buffer: np.ndarray) -> dict[str, np.ndarray]:
    """A sublayer's weights one after the other in a flat array."""
    views, at = {}, 0
    for name, shape in _shapes(sublayer).items():
        size = int(np.prod(shape))
        views[name] = buffer[at : at + size].reshape(shape)
        at += size
    return views
