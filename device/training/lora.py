"""A LoRA adapter's parameters in GGUF layout, as one flat vector with a view per tensor.

One vector makes the optimizer, clipping and checkpoints a few numpy calls, whatever the targets.
Names and layout: llama.cpp's adapter GGUF (`blk.N.attn_q.weight.lora_a`, numpy shape (rank, columns);
`lora_b`, (rows, rank)). Update: W + alpha / rank * B A (Hu et al. 2021, arXiv 2106.09685).
"""

import math
from pathlib import Path

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..gguf_file import GgufFile
from .shape import TARGETS, ModelShape


def target_names(targets: str) -> tuple[str, ...]:
    """'q,k,v,o' as GGUF names, in the model's order; UsageError for an unknown one."""
    asked = [name.strip() for name in targets.split(",") if name.strip()]
    unknown = [name for name in asked if name not in TARGETS]
    if unknown or not asked:
        raise UsageError(f"unknown LoRA target {', '.join(unknown) or targets!r}; choose from {', '.join(TARGETS)}")
    return tuple(TARGETS[name] for name in TARGETS if name in asked)


class Lora:
    """Parameters `flat` float32 (n,) and `layers`: per layer {name.lora_a: view, name.lora_b: view}."""

    def __init__(self, shape: ModelShape, targets: str, rank: int, alpha: float, flat: np.ndarray | None = None):
        if not 1 <= rank <= 64:
            raise UsageError(f"rank {rank} is out of range; choose 1 to 64")
        self.shape, self.targets, self.rank, self.alpha = shape, targets, rank, float(alpha)
        self.names = target_names(targets)
        self.flat = np.zeros(self.size, np.float32) if flat is None else flat
        self.layers = self.views(self.flat)

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def size(self) -> int:
        shapes = self.shape.linear_shapes()
        return self.shape.layers * sum(self.rank * sum(shapes[name]) for name in self.names)

    def views(self, flat: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Any vector of the parameters' length (a gradient, a moment) as named tensors per layer."""
        shapes, layers, at = self.shape.linear_shapes(), [], 0
        for _ in range(self.shape.layers):
            views = {}
            for name in self.names:
                rows, columns = shapes[name]
                for side, shape in (("lora_a", (self.rank, columns)), ("lora_b", (rows, self.rank))):
                    size = math.prod(shape)
                    views[f"{name}.{side}"] = flat[at : at + size].reshape(shape)
                    at += size
            layers.append(views)
        return layers

    def initialize(self, seed: int) -> "Lora":
        """A uniform within 1 / sqrt(columns), as PEFT does (Kaiming with a = sqrt 5); B zero: the base, unchanged."""
        generator = np.random.default_rng(seed)
        self.flat[...] = 0
        for views in self.layers:
            for name, view in views.items():
                if name.endswith("lora_a"):
                    bound = 1 / math.sqrt(view.shape[1])
                    view[...] = generator.uniform(-bound, bound, view.shape)
        return self

    def weaken(self, factor: float) -> None:
        """Multiply the whole update by `factor`, by way of alpha: the tensors stay as they were trained."""
        self.alpha *= factor

    def tensors(self) -> dict[str, np.ndarray]:
        """The tensors under the names of an adapter GGUF."""
        return {
            f"blk.{number}.{name.replace('.lora', '.weight.lora')}": view
            for number, views in enumerate(self.layers)
            for name, view in views.items()
        }


def read_adapter(path: Path, shape: ModelShape) -> Lora:
    """The parameters of an adapter GGUF; DamagedDataError when it does not fit the model's shape."""
    file = GgufFile(path)
    short = {gguf: name for name, gguf in TARGETS.items()}
    names = {name.split(".")[2] for name in file.tensors}
    if not names or not names <= set(short):
        raise DamagedDataError(f"{path} has no LoRA tensors this model knows; train a new adapter")
    targets = ",".join(name for name in TARGETS if TARGETS[name] in names)
    rank = next(tensor.shape[0] for name, tensor in file.tensors.items() if name.endswith("lora_a"))
    lora = Lora(shape, targets, rank, file.metadata.get("adapter.lora.alpha", rank))
    for name, view in lora.tensors().items():
        if name not in file.tensors or file.tensor(name).shape != view.shape:
            raise DamagedDataError(f"{path} does not fit the base model at {name}; it was made for another")
        view[...] = file.raw(name).view(np.float32)
    return lora
