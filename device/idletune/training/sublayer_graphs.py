"""The graphs of a model's sublayers, loaded at first use: like sublayers share them."""

from dataclasses import dataclass

import numpy as np

from ..formats.model_shape import ModelShape
from ..formats.sublayers import Kind, Sublayer
from ..onnx_runtime.graph import Graph
from .graph_files import GRAPHS, sublayer_graph
from .lora import Lora


@dataclass(frozen=True, eq=False)
class Step:
    """A sublayer in the order of the forward pass: the `index`-th of layer `layer`.

    `adapter` holds its LoRA matrices by graph input name, with zeros for linear layers that are not trained; it is
    empty where none is. `trained` names those that are. `numbers` are its inputs that are one number.
    """

    layer: int
    index: int
    sublayer: Sublayer
    adapter: dict[str, np.ndarray]
    trained: tuple[str, ...]
    numbers: dict[str, np.ndarray]

    @property
    def adapted(self) -> bool:
        return bool(self.trained)


def steps_of(shape: ModelShape, lora: Lora) -> list[Step]:
    """All sublayers of a model, in order."""
    zeros: dict[tuple[int, int], np.ndarray] = {}
    return [
        _step(number, index, sublayer, lora, zeros)
        for number, layer in enumerate(shape.table)
        for index, sublayer in enumerate(layer.sublayers)
    ]


def _step(number: int, index: int, sublayer: Sublayer, lora: Lora, zeros: dict) -> Step:
    views = lora.layers[number]
    trained = tuple(name for linear in sublayer.linears for name in _sides(linear) if name in views)
    adapter = {
        name: views[name] if name in views else zeros.setdefault(size, np.zeros(size, np.float32))
        for linear, (rows, columns, *_) in sublayer.linears.items()
        for name, size in zip(_sides(linear), ((lora.rank, columns), (rows, lora.rank)))
    }
    numbers = {name: np.array(value, np.float32) for name, value in sublayer.scalars().items()}
    return Step(number, index, sublayer, adapter if trained else {}, trained, numbers)


def _sides(linear: str) -> tuple[str, str]:
    return f"{linear}.lora_a", f"{linear}.lora_b"


class SublayerGraphs:
    """Graphs by kind; `int8` says whether training passes multiply in int8."""

    def __init__(self, threads: int, int8: bool):
        self._threads, self._int8 = threads, int8
        self._loaded: dict[tuple, Graph] = {}

    def forward(self, step: Step) -> Graph:
        """For losses and frozen layers: always float32."""
        return self._graph(step.sublayer.kind, step.adapted, False, False)

    def training_forward(self, step: Step) -> Graph:
        return self._graph(step.sublayer.kind, step.adapted, self._int8, False)

    def training_backward(self, step: Step) -> Graph:
        return self._graph(step.sublayer.kind, step.adapted, self._int8, True)

    def _graph(self, kind: Kind, adapted: bool, int8: bool, backward: bool) -> Graph:
        key = kind, adapted, int8, backward
        if key not in self._loaded:
            path = sublayer_graph(GRAPHS, kind, adapted=adapted, int8=int8, backward=backward)
            self._loaded[key] = Graph(path, self._threads)
        return self._loaded[key]
