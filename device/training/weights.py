"""The base model's frozen weights, unpacked from the GGUF's own blocks when they are needed.

The file is mapped, not read; a small ONNX graph per block format turns blocks into float32. A layer is
unpacked once into memory of its own (resident) or every time into the same buffers (streamed), as memory allows.
"""

from collections.abc import Iterator

import numpy as np

from ..errors import UsageError
from ..model.gguf_file import GgufFile
from .graph import Graph
from .graph_files import PACKAGED_GRAPHS
from .shape import LINEARS, ModelShape

# Byte offsets of the float16 scales in a block (ggml-common.h).
SCALE_OFFSETS = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
}
SCALE_GROUPS = {"Q4_K": 8, "Q5_K": 8, "Q6_K": 16}  # runs with a scale of their own inside a block; else 1
SIGNED_FORMATS = ("Q8_0",)  # their blocks enter the graph as int8
PLAIN_TYPES = ("F32", "F16", "BF16")
CHUNK_WEIGHTS = 1 << 20
# Rows of the output matrix that are unpacked, and multiplied with, at a time. Few, for the sums' sake: float32
# sums over a whole vocabulary lose its rare words, and gradients with them 20 times their precision.
OUTPUT_ROWS = 1024


class Unpacker:
    """Turns stored rows into float32 weights, bit for bit as gguf's dequantize does."""

    def __init__(self, threads: int):
        self._threads, self._graphs = threads, {}

    def unpack(self, rows: np.ndarray, kind, out: np.ndarray, halves: np.ndarray | None = None) -> None:
        """rows uint8 (n, row bytes) of tensor type `kind` -> out float32 (n, columns).

        `halves` are the rows' float16 scales where the caller has kept them (see `scales`).
        """
        if kind.name in PLAIN_TYPES:
            out[...] = _plain(rows, kind.name)
            return
        blocks = rows.reshape(len(rows), -1, kind.size).view(np.int8 if kind.name in SIGNED_FORMATS else np.uint8)
        halves = scales(rows, kind) if halves is None else halves
        # A few rows at a time: what the graph holds in between stays in the cache and out of the peak.
        step = max(1, CHUNK_WEIGHTS // out.shape[1])
        for at in range(0, len(rows), step):
            part = slice(at, at + step)
            groups = SCALE_GROUPS.get(kind.name, 1)
            weights = out[part].reshape(len(blocks[part]), -1, groups, kind.block // groups)
            self._graph(kind.name).run({"blocks": blocks[part], "halves": halves[part]}, {"weights": weights})

    def _graph(self, name: str) -> Graph:
        if name not in self._graphs:
            self._graphs[name] = Graph(PACKAGED_GRAPHS / "unpack" / f"{name}.onnx", self._threads)
        return self._graphs[name]


def scales(rows: np.ndarray, kind) -> np.ndarray:
    """The float16 scales of quantized rows: (rows, blocks per row, scales per block)."""
    blocks = rows.reshape(len(rows), -1, kind.size)
    parts = [blocks[:, :, at : at + 2].copy().view(np.float16) for at in SCALE_OFFSETS[kind.name]]
    return np.concatenate(parts, axis=2)


def _plain(rows: np.ndarray, name: str) -> np.ndarray:
    if name == "F32":
        return rows.view(np.float32)
    if name == "F16":
        return rows.view(np.float16)
    return (rows.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


class Weights:
    """Frozen weights by layer; the first `resident` layers stay unpacked once they were used, and the output
    matrix with `resident_output`; of the others' blocks the scales with `keeps_scales`. `vectors` names the norms
    and biases of a block (see GraphFiles)."""

    def __init__(
        self, gguf: GgufFile, shape: ModelShape, vectors: dict[str, int], *, threads: int,
        resident: range = range(0), resident_output: bool = False, keeps_scales: bool = True,
    ):
        self.shape, self._gguf, self._vectors, self._resident = shape, gguf, vectors, resident
        self._unpacker, self._keeps_scales = Unpacker(threads), keeps_scales
        self._refuse_unknown_types()
        self._layers: dict[int, dict] = {}
        self._scales: dict[str, np.ndarray] = {}
        self._buffers = self._empty_layer()
        self.output_norm = self._vector("output_norm.weight", shape.hidden)
        self._output_name = "output.weight" if "output.weight" in gguf.tensors else "token_embd.weight"
        self._output = self._whole_output() if resident_output else None
        self._part = np.empty((0, shape.hidden), np.float32)

    def layer(self, number: int) -> dict[str, np.ndarray]:
        """Float32 weights of one block by graph input name; valid until the next call when streamed."""
        if number in self._layers:
            return self._layers[number]
        resident = number in self._resident
        weights = self._empty_layer() if resident else self._buffers
        for name in LINEARS:
            self._unpack(f"blk.{number}.{name}.weight", weights[name], keep_scales=self._keeps_scales and not resident)
        for name, size in self._vectors.items():
            weights[name][...] = self._vector(f"blk.{number}.{name}" + ("" if "." in name else ".weight"), size)
        if resident:
            self._layers[number] = weights
        return weights

    def embed(self, tokens: np.ndarray) -> np.ndarray:
        """Input embeddings of token ids (n,): float32 (n, hidden). Only those rows are unpacked."""
        rows = self._rows("token_embd.weight", tokens)
        rows *= np.float32(self.shape.embedding_scale)
        return rows

    def output_rows(self, tokens: np.ndarray) -> np.ndarray:
        """The output matrix's rows of some tokens: float32 (n, hidden)."""
        return self._rows(self._output_name, tokens)

    def output_parts(self) -> Iterator[np.ndarray]:
        """The output matrix (the input embedding where the two are tied), OUTPUT_ROWS rows at a time; a part
        is valid until the next one."""
        for start in range(0, self.shape.vocabulary, OUTPUT_ROWS):
            rows = slice(start, min(start + OUTPUT_ROWS, self.shape.vocabulary))
            if self._output is not None:
                yield self._output[rows]
                continue
            if not len(self._part):
                self._part = np.empty((min(OUTPUT_ROWS, self.shape.vocabulary), self.shape.hidden), np.float32)
            part, kind = self._part[: rows.stop - rows.start], self._gguf.tensor(self._output_name).type
            self._unpacker.unpack(self._gguf.raw(self._output_name)[rows], kind, part)
            yield part
            self._gguf.release(self._output_name)

    def _whole_output(self) -> np.ndarray:
        whole = np.empty((self.shape.vocabulary, self.shape.hidden), np.float32)
        self._unpack(self._output_name, whole, keep_scales=False)
        return whole

    def _rows(self, name: str, numbers: np.ndarray) -> np.ndarray:
        out = np.empty((len(numbers), self.shape.hidden), np.float32)
        self._unpacker.unpack(np.ascontiguousarray(self._gguf.raw(name)[numbers]), self._gguf.tensor(name).type, out)
        self._gguf.release(name)
        return out

    def _unpack(self, name: str, out: np.ndarray, keep_scales: bool) -> None:
        rows, kind = self._checked(name, out.shape), self._gguf.tensor(name).type
        self._unpacker.unpack(rows, kind, out, self._kept_scales(name, rows, kind) if keep_scales else None)
        self._gguf.release(name)

    def _checked(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        tensor = self._gguf.tensor(name)
        if tensor.shape != shape:
            raise UsageError(f"{name} is {tensor.shape}, not {shape} as the metadata says; convert the model again")
        return self._gguf.raw(name)

    def _kept_scales(self, name: str, rows: np.ndarray, kind) -> np.ndarray | None:
        """A streamed layer's scales: gathered once, they are a tenth of its blocks and half of the work."""
        if kind.name in PLAIN_TYPES:
            return None
        if name not in self._scales:
            self._scales[name] = scales(rows, kind)
        return self._scales[name]

    def _vector(self, name: str, size: int) -> np.ndarray:
        out = np.empty((1, size), np.float32)
        self._unpacker.unpack(self._checked(name, (size,)), self._gguf.tensor(name).type, out)
        return out[0]

    def _empty_layer(self) -> dict[str, np.ndarray]:
        shapes = {**self.shape.linear_shapes(), **{name: (size,) for name, size in self._vectors.items()}}
        return {name: np.empty(shape, np.float32) for name, shape in shapes.items()}

    def _refuse_unknown_types(self) -> None:
        known = (*PLAIN_TYPES, *SCALE_OFFSETS)
        for tensor in self._gguf.tensors.values():
            if tensor.type.name not in known:
                raise UsageError(
                    f"tensor {tensor.name} has the type {tensor.type.name}, which cannot be trained on; "
                    f"known types: {', '.join(known)}: quantize the model to one of them"
                )
