"""The base model's frozen weights, unpacked from the GGUF's own blocks when they are needed.

The file is mapped, not read; a small ONNX graph per block format turns blocks into float32. A layer is
unpacked once into memory of its own (resident) or every time into the same buffers (streamed), as memory allows.
"""

from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..gguf_file import GgufFile
from .graph import Graph
from .shape import LINEARS, NORMS, PACKAGED_GRAPHS, ModelShape

# Byte offsets of the float16 scales in a block (ggml-common.h).
SCALE_OFFSETS = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
}
SCALE_GROUPS = {"Q4_K": 8, "Q5_K": 8, "Q6_K": 16}  # runs with a scale of their own inside a block; else 1
PLAIN_TYPES = ("F32", "F16", "BF16")
CHUNK_WEIGHTS = 1 << 20


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
        blocks = rows.reshape(len(rows), -1, kind.size)
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
    """Frozen weights by layer; the first `resident` layers stay unpacked once they were used."""

    def __init__(self, gguf: GgufFile, shape: ModelShape, *, threads: int, resident: int):
        self.shape, self._gguf, self._resident = shape, gguf, resident
        self._unpacker = Unpacker(threads)
        self._refuse_unknown_types()
        self._layers: dict[int, dict] = {}
        self._scales: dict[str, np.ndarray] = {}
        self._buffers = self._empty_layer()
        self.output_norm = self._vector("output_norm.weight")
        self._output = None

    def layer(self, number: int) -> dict[str, np.ndarray]:
        """Float32 weights of one block by GGUF name; valid until the next call when streamed."""
        if number in self._layers:
            return self._layers[number]
        weights = self._empty_layer() if number < self._resident else self._buffers
        for name in LINEARS:
            self._unpack(f"blk.{number}.{name}.weight", weights[name])
        for name in NORMS:
            weights[name][...] = self._vector(f"blk.{number}.{name}.weight")
        if number < self._resident:
            self._layers[number] = weights
        return weights

    def embed(self, tokens: np.ndarray) -> np.ndarray:
        """Input embeddings of token ids (n,): float32 (n, hidden). Only those rows are unpacked."""
        out = np.empty((len(tokens), self.shape.hidden), np.float32)
        rows = np.ascontiguousarray(self._gguf.raw("token_embd.weight")[tokens])
        self._unpacker.unpack(rows, self._gguf.tensor("token_embd.weight").type, out)
        return out

    @property
    def output(self) -> np.ndarray:
        """The output matrix float32 (vocabulary, hidden); the input embedding where the two are tied."""
        if self._output is None:
            name = "output.weight" if "output.weight" in self._gguf.tensors else "token_embd.weight"
            self._output = np.empty((self.shape.vocabulary, self.shape.hidden), np.float32)
            self._unpack(name, self._output)
        return self._output

    def _unpack(self, name: str, out: np.ndarray) -> None:
        tensor = self._gguf.tensor(name)
        if tensor.shape != out.shape:
            raise UsageError(f"{name} is {tensor.shape}, not {out.shape} as the metadata says; convert the model again")
        rows = self._gguf.raw(name)
        self._unpacker.unpack(rows, tensor.type, out, self._kept_scales(name, rows, tensor.type))

    def _kept_scales(self, name: str, rows: np.ndarray, kind) -> np.ndarray | None:
        """A streamed layer's scales: gathered once, they are a tenth of its blocks and half of the work."""
        if not name.startswith("blk.") or int(name.split(".")[1]) < self._resident or kind.name in PLAIN_TYPES:
            return None
        if name not in self._scales:
            self._scales[name] = scales(rows, kind)
        return self._scales[name]

    def _vector(self, name: str) -> np.ndarray:
        out = np.empty((1, self._gguf.tensor(name).shape[-1]), np.float32)
        self._unpacker.unpack(self._gguf.raw(name), self._gguf.tensor(name).type, out)
        return out[0]

    def _empty_layer(self) -> dict[str, np.ndarray]:
        shapes = {**self.shape.linear_shapes(), **{name: (self.shape.hidden,) for name in NORMS}}
        return {name: np.empty(shape, np.float32) for name, shape in shapes.items()}

    def _refuse_unknown_types(self) -> None:
        known = (*PLAIN_TYPES, *SCALE_OFFSETS)
        for tensor in self._gguf.tensors.values():
            if tensor.type.name not in known:
                raise UsageError(
                    f"tensor {tensor.name} has the type {tensor.type.name}, which cannot be trained on; "
                    f"known types: {', '.join(known)}: quantize the model to one of them"
                )
