"""The walk through the layers: loss and LoRA gradients of one row, a layer at a time.

Memory is one layer's weights plus what is kept per layer. Two ways, with the same arithmetic:
- saved: the forward pass keeps every product with a frozen weight; the backward pass repeats none;
- recompute: only each layer's input is kept, and the forward graph runs once more per layer.
"""

import numpy as np

from ..errors import DamagedDataError
from .graph import Graph
from .lora import Lora
from .rows import Row, rotary_angles
from .shape import TARGETS, ModelShape
from .weights import Weights

HEAD_CHUNK = 64  # labelled positions whose logits are held at once
ATTENTION_TARGETS = {TARGETS[name] for name in ("q", "k", "v", "o")}


class Arena:
    """Memory handed out as float32 arrays and reused by every row; it grows to the longest row."""

    def __init__(self):
        self._blocks: dict = {}

    def take(self, key, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape))
        block = self._blocks.get(key)
        if block is None or block.size < size:
            block = self._blocks[key] = np.empty(size, np.float32)
        return block[:size].reshape(shape)


class Layers:
    """Runs the three training graphs of a model over its layers."""

    def __init__(self, weights: Weights, graphs, lora: Lora, *, threads: int, recompute: bool):
        self.shape: ModelShape = weights.shape
        self.weights, self.lora, self.recompute = weights, lora, recompute
        variant = "attention" if set(lora.names) <= ATTENTION_TARGETS else "all"
        self._forward = Graph(graphs / variant / "block_forward.onnx", threads)
        self._backward = Graph(graphs / variant / "block_backward.onnx", threads)
        self._head = Graph(graphs / "head.onnx", threads)
        self._arena = Arena()
        self._untrained = self._zero_adapters()

    def loss(self, row: Row) -> tuple[float, int]:
        """Summed cross-entropy in nats over the row's labelled positions, and their number."""
        x, common = self.weights.embed(row.tokens), self._row_inputs(row)
        for number in range(self.shape.layers):
            y = self._arena.take(("y", number % 2), x.shape)
            self._forward.run({"x": x, **common, **self._parameters(number)}, {"y": y})
            x = y
        return self._loss_of(x, row, None)

    def gradients(self, row: Row, out: np.ndarray, scale: float) -> tuple[float, int]:
        """Like `loss`, and adds `scale` times the gradient of the summed loss to `out` (flat, lora.size)."""
        inputs, saved, common = self._walk_up(row)
        dx = np.zeros_like(inputs[-1])
        total, count = self._loss_of(inputs[-1], row, dx)
        if not np.isfinite(total):
            raise DamagedDataError("the loss is not finite: the base model or the adapter holds NaN; fetch it again")
        dx *= np.float32(scale)
        collected = self.lora.views(out)
        for number in reversed(range(self.shape.layers)):
            dx = self._step_down(number, dx, inputs[number], saved[number], common, collected[number])
        return total, count

    def _walk_up(self, row: Row):
        x, common = self.weights.embed(row.tokens), self._row_inputs(row)
        inputs, saved = [x], []
        for number in range(self.shape.layers):
            y = self._arena.take(("y", number), x.shape)
            kept = {} if self.recompute else self._saved_arrays(number, len(x))
            self._forward.run({"x": inputs[-1], **common, **self._parameters(number)}, {"y": y, **kept})
            inputs.append(y)
            saved.append(kept)
        return inputs, saved, common

    def _step_down(self, number, dx, x, saved, common, collected) -> np.ndarray:
        feeds = {"x": x, **common, **self._parameters(number)}
        if self.recompute:
            saved = self._saved_arrays(0, len(x))
            self._forward.run(feeds, saved)
        below = self._arena.take(("dx", number % 2), x.shape)
        grads = {name: self._arena.take(name, view.shape) for name, view in self._adapter(number).items()}
        outputs = {_gradient_name(name): array for name, array in grads.items()}
        self._backward.run({"dy": dx, **feeds, **saved}, {"dx": below, **outputs})
        for name, view in collected.items():
            view += grads[name]
        return below

    def _loss_of(self, x, row: Row, dx) -> tuple[float, int]:
        """The head on labelled positions only, in chunks; fills dx where it is asked for."""
        positions, total = row.labelled, 0.0
        for start in range(0, len(positions), HEAD_CHUNK):
            at = positions[start : start + HEAD_CHUNK]
            feeds = {
                "x": np.ascontiguousarray(x[at]), "labels": np.ascontiguousarray(row.labels[at]),
                "norm": self.weights.output_norm, "embedding": self.weights.output,
            }
            loss, d = np.empty(len(at), np.float32), np.empty((len(at), self.shape.hidden), np.float32)
            self._head.run(feeds, {"loss": loss, "dx": d})
            total += float(loss.sum(dtype=np.float64))
            if dx is not None:
                dx[at] = d
        return total, len(positions)

    def _row_inputs(self, row: Row) -> dict[str, np.ndarray]:
        cos, sin = rotary_angles(row.positions, self.shape.head_dim, self.shape.rope_base)
        scale = np.array(self.lora.scale, np.float32)
        return {"cos": cos, "sin": sin, "slots": row.slots, "places": row.places, "mask": row.mask, "scale": scale}

    def _parameters(self, number: int) -> dict[str, np.ndarray]:
        return {**self.weights.layer(number), **self._adapter(number)}

    def _adapter(self, number: int) -> dict[str, np.ndarray]:
        return {**self._untrained, **self.lora.layers[number]}

    def _zero_adapters(self) -> dict[str, np.ndarray]:
        """The graphs take an adapter for each of their targets; those not trained get one of zeros."""
        shapes, zeros = self.shape.linear_shapes(), {}
        for name in shapes:
            if f"{name}.lora_a" in self._forward.inputs and name not in self.lora.names:
                rows, columns = shapes[name]
                zeros[f"{name}.lora_a"] = np.zeros((self.lora.rank, columns), np.float32)
                zeros[f"{name}.lora_b"] = np.zeros((rows, self.lora.rank), np.float32)
        return zeros

    def _saved_arrays(self, number: int, tokens: int) -> dict[str, np.ndarray]:
        widths = self.shape.saved_widths()
        return {name: self._arena.take((name, number), (tokens, width)) for name, width in widths.items()}


def _gradient_name(name: str) -> str:
    return name.replace(".lora_", ".d_lora_")
