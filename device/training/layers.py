"""The walk through the layers: loss and LoRA gradients of one row, a layer at a time.

Memory is one layer's weights plus what is kept per layer. Two ways, with the same arithmetic:
- saved: the forward pass keeps every product with a frozen weight; the backward pass repeats none;
- recompute: only each layer's input is kept, and the forward graph runs once more per layer.
Training passes may take the frozen products of layers with adapters, and the head's, on int8; losses are float32.
Layers below the first that carries an adapter are walked upwards only, and nothing of them is kept.
"""

import numpy as np

from ..errors import DamagedDataError
from ..model.gguf_file import GgufFile
from ..settings import cores
from .graph import Graph
from .graph_files import GraphFiles
from .head import Head
from .int8 import Int8Weights
from .int8_head import Int8Head
from .lora import Lora
from .plan import MemoryPlan
from .rows import Row, divide, rotary_angles, rotary_turn
from .shape import Attention, ModelShape
from .weights import Weights


class Arena:
    """Memory handed out as float32 arrays and reused by every row; it grows to the longest row."""

    def __init__(self):
        self._blocks: dict = {}
        self._taken: dict = {}

    def take(self, key, shape: tuple[int, ...]) -> np.ndarray:
        """The array of a key: the same object as before where the shape is the same."""
        if key not in self._taken or self._taken[key].shape != shape:
            size = int(np.prod(shape))
            block = self._blocks.get(key)
            if block is None or block.size < size:
                block = self._blocks[key] = np.empty(size, np.float32)
            self._taken[key] = block[:size].reshape(shape)
        return self._taken[key]


class Layers:
    """Runs the training graphs of a model over its layers."""

    def __init__(
        self, weights: Weights, graphs: GraphFiles, lora: Lora, *, threads: int, recompute: bool, int8: bool = False,
        int8_head: bool = False,
    ):
        self.shape: ModelShape = weights.shape
        self.weights, self.graphs, self.lora, self.recompute, self.int8 = weights, graphs, lora, recompute, int8
        self.threads = threads or cores()
        folder = graphs.blocks(lora.names)
        self._forward = Graph(folder / "block_forward.onnx", threads)
        self._training_forward = Graph(folder / "block_forward_int8.onnx", threads) if int8 else self._forward
        self._training_backward = Graph(folder / f"block_backward{'_int8' if int8 else ''}.onnx", threads)
        self._training_weights = Int8Weights(weights, threads) if int8 else weights
        self._int8_head = Int8Head(weights, threads) if int8_head else None
        self._head = Head(weights, graphs.folder, threads, self._int8_head)
        self._arena = Arena()
        self._untrained = self._zero_adapters()

    @classmethod
    def planned(cls, gguf: GgufFile, graphs: GraphFiles, lora: Lora, plan: MemoryPlan, threads: int) -> "Layers":
        """As a plan says, over the weights of a file."""
        weights = Weights(
            gguf, lora.shape, graphs.vectors, threads=threads, resident=plan.resident,
            resident_output=plan.resident_output and not plan.int8, keeps_scales=plan.keeps_scales,
        )
        return cls(
            weights, graphs, lora, threads=threads, recompute=plan.recompute, int8=plan.int8, int8_head=plan.int8_head
        )

    @property
    def arithmetic(self) -> str:
        """Which of training's products are on int8; a run keeps to it."""
        return f"{'int8' if self.int8 else 'float32'}{' with the head' if self._int8_head else ''}"

    @property
    def centre(self) -> np.ndarray | None:
        """What a run on int8 keeps to from its first step on (see Int8Head), besides the adapter; None before it."""
        return self._int8_head and self._int8_head.centre

    @centre.setter
    def centre(self, centre: np.ndarray | None) -> None:
        if self._int8_head:
            self._int8_head.centre = centre

    def entering(self, rows: list[Row]) -> list[np.ndarray]:
        """What enters the first layer with an adapter, float32 (T, hidden) of each row; training does not change it.

        The rows go through each layer together, so that its weights are unpacked once.
        """
        values = [self.weights.embed(row.tokens) for row in rows]
        return [x.copy() for x in self._walk(values, rows, range(self.lora.first))]

    def loss(self, row: Row) -> tuple[float, int]:
        """Summed cross-entropy in nats over the row's labelled positions, and their number."""
        losses = self.token_losses(row)
        return float(losses.sum(dtype=np.float64)), len(losses)

    def token_losses(self, row: Row) -> np.ndarray:
        """Cross-entropy in nats at each labelled position: float32 (labelled,)."""
        (x,) = self._walk([self._start(row)], [row], range(self.lora.first, self.shape.layers))
        at = row.labelled
        return self._head.losses(np.ascontiguousarray(x[at]), row.labels[at])

    def gradients(self, row: Row, out: np.ndarray, scale: float) -> tuple[float, int]:
        """Like `loss`, and adds `scale` times the gradient of the summed loss to `out` (flat, lora.size)."""
        inputs, saved, common = self._walk_up(row)
        total, dx = self._head_gradient(inputs[self.shape.layers], row)
        if not np.isfinite(total):
            raise DamagedDataError("the loss is not finite: the base model or the adapter holds NaN; fetch it again")
        dx *= np.float32(scale)
        collected = self.lora.views(out)
        for number in reversed(range(self.lora.first, self.shape.layers)):
            dx = self._step_down(number, dx, inputs[number], saved[number], common, collected[number])
        return total, len(row.labelled)

    def _start(self, row: Row) -> np.ndarray:
        return self.entering([row])[0] if row.entering is None else row.entering

    def _walk(self, values: list[np.ndarray], rows: list[Row], numbers: range) -> list[np.ndarray]:
        """Values of some rows through some layers, keeping nothing."""
        common = [RowInputs(row, self) for row in rows]
        for number in numbers:
            weights, above = {**self.weights.layer(number), **self._adapter(number)}, []
            for i, x in enumerate(values):
                above.append(self._arena.take(("walk", i, number % 2), x.shape))
                self._forward.run({"x": x, **common[i].of(number), **weights}, {"y": above[i]})
            values = above
        return values

    def _walk_up(self, row: Row):
        """Through the layers with adapters, keeping what the way back needs, by layer number."""
        common, first = RowInputs(row, self), self.lora.first
        inputs, saved = {first: self._start(row)}, {}
        for number in range(first, self.shape.layers):
            x = inputs[number]
            y = inputs[number + 1] = self._arena.take(("y", number), x.shape)
            saved[number] = {} if self.recompute else self._saved_arrays(number, len(x))
            self._training_forward.run(self._feeds(number, x, common), {"y": y, **saved[number]})
        return inputs, saved, common

    def _step_down(self, number, dx, x, saved, common, collected) -> np.ndarray:
        feeds = self._feeds(number, x, common)
        if self.recompute:
            saved = self._saved_arrays(0, len(x))
            self._training_forward.run(feeds, saved)
        below = self._arena.take(("dx", number % 2), x.shape)
        grads = {name: self._arena.take(name, view.shape) for name, view in self._adapter(number).items()}
        outputs = {_gradient_name(name): array for name, array in grads.items()}
        self._training_backward.run({"dy": dx, **feeds, **saved}, {"dx": below, **outputs})
        for name, view in collected.items():
            view += grads[name]
        return below

    def _head_gradient(self, x: np.ndarray, row: Row) -> tuple[float, np.ndarray]:
        """Loss on the labelled positions, and its gradient on all."""
        at = row.labelled
        dx, d = np.zeros_like(x), np.empty((len(at), x.shape[1]), np.float32)
        total = self._head.gradient(np.ascontiguousarray(x[at]), row.labels[at], d)
        dx[at] = d
        return total, dx

    def _feeds(self, number: int, x: np.ndarray, common: "RowInputs") -> dict[str, np.ndarray]:
        """A layer's inputs in a training pass."""
        return {"x": x, **common.of(number), **self._training_weights.layer(number), **self._adapter(number)}

    def _adapter(self, number: int) -> dict[str, np.ndarray]:
        return {**self._untrained, **self.lora.layers[number]}

    def _zero_adapters(self) -> dict[str, np.ndarray]:
        """The graphs take an adapter for each of their targets; those not trained get one of zeros."""
        shapes, zeros = self.shape.linear_shapes(), {}
        for name in shapes:
            if f"{name}.lora_a" in self._forward.inputs:
                rows, columns = shapes[name]
                zeros[f"{name}.lora_a"] = np.zeros((self.lora.rank, columns), np.float32)
                zeros[f"{name}.lora_b"] = np.zeros((rows, self.lora.rank), np.float32)
        return zeros

    def _saved_arrays(self, number: int, tokens: int) -> dict[str, np.ndarray]:
        return {name: self._arena.take((name, number), (tokens, width)) for name, width in self.graphs.saved.items()}


class RowInputs:
    """What a row's layers have in common; local and global layers see positions differently."""

    def __init__(self, row: Row, layers: Layers):
        self._row, self._shape, self._pairs = row, layers.shape, layers.graphs.rotary
        self._batches = np.array([divide(len(row.tokens), layers.threads)], np.int64)
        self._scale = np.array(layers.lora.scale, np.float32)
        self._made: dict[Attention, dict] = {}

    def of(self, number: int) -> dict[str, np.ndarray]:
        """The inputs of one layer."""
        attention = self._shape.attention(number)
        if attention not in self._made:
            self._made[attention] = self._make(attention)
        return self._made[attention]

    def _make(self, attention: Attention) -> dict[str, np.ndarray]:
        row = self._row
        head_dim = self._shape.head_dim
        cos, sin = rotary_angles(row.positions, head_dim, attention.rope_base, self._pairs)
        mask = row.layout.mask_within(attention.window, row.positions)
        turn = rotary_turn(head_dim, self._pairs)
        return {
            "cos": cos, "sin": sin, "turn": turn, "scale": self._scale, "batches": self._batches, **vars(row.layout),
            "mask": mask,
        }


def _gradient_name(name: str) -> str:
    return name.replace(".lora_", ".d_lora_")
