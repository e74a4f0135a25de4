"""A LoRA adapter's parameters in GGUF layout, as one flat vector with a view per tensor.

One vector makes the optimizer, clipping and checkpoints a few numpy calls, whatever the targets.
Names and layout: llama.cpp's adapter GGUF (`blk.N.attn_q.weight.lora_a`, numpy shape (rank, columns);
`lora_b`, (rows, rank)). Update: W + alpha / rank * B A (Hu et al. 2021, arXiv 2106.09685).
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..errors import DamagedDataError, UsageError
from ..model.gguf_file import GgufFile
from ..settings import Settings
from .shape import TARGETS, ModelShape

ADAPTER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.weight\.lora_[ab]")


def target_names(targets: str) -> tuple[str, ...]:
    """'q,k,v,o' as GGUF names, in the model's order; UsageError for an unknown one."""
    asked = [name.strip() for name in targets.split(",") if name.strip()]
    unknown = [name for name in asked if name not in TARGETS]
    if unknown or not asked:
        raise UsageError(f"unknown LoRA target {', '.join(unknown) or targets!r}; choose from {', '.join(TARGETS)}")
    return tuple(TARGETS[name] for name in TARGETS if name in asked)


class Lora:
    """Parameters `flat` float32 (n,) and `layers`: per layer {name.lora_a: view, name.lora_b: view}, empty below
    layer `first`. `top_layers` of the model, counted from its output, carry an adapter; 0 = all."""

    def __init__(self, shape: ModelShape, targets: str, rank: int, alpha: float, top_layers: int = 0):
        if not 1 <= rank <= 64:
            raise UsageError(f"rank {rank} is out of range; choose 1 to 64")
        self.shape, self.targets, self.rank, self.alpha = shape, targets, rank, float(alpha)
        self.first = max(0, shape.layers - top_layers) if top_layers else 0
        self.names = target_names(targets)
        self.flat = np.zeros(self.size, np.float32)
        self.layers = self.views(self.flat)

    @classmethod
    def from_settings(cls, shape: ModelShape, settings: Settings) -> "Lora":
        """The adapter that the settings ask for, fresh."""
        s, top_layers = settings, max(1, round(settings.top_share * shape.layers))
        return cls(shape, s.targets, s.rank, s.alpha, top_layers).initialize(s.seed)

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def size(self) -> int:
        shapes = self.shape.linear_shapes()
        return (self.shape.layers - self.first) * sum(self.rank * sum(shapes[name]) for name in self.names)

    def views(self, flat: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Any vector of the parameters' length (a gradient, a moment) as named tensors per layer."""
        shapes, layers, at = self.shape.linear_shapes(), [{} for _ in range(self.first)], 0
        for _ in range(self.first, self.shape.layers):
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

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """The base model alone, for as long as it lasts."""
        alpha, self.alpha = self.alpha, 0.0
        try:
            yield
        finally:
            self.alpha = alpha

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


def dropout_mask(lora: Lora, rate: float, seed: list[int]) -> np.ndarray | None:
    """Factors for every parameter that drop inputs of the adapter with probability `rate`; None where it is 0.

    One choice of inputs for a whole row (Gal & Ghahramani 2016, arXiv 1512.05287): dropping an input is
    zeroing its column of A, which costs nothing in the graphs and keeps no mask per token.
    """
    if not rate:
        return None
    generator, mask = np.random.default_rng(seed), np.ones(lora.size, np.float32)
    for views in lora.views(mask):
        for name, view in views.items():
            if name.endswith("lora_a"):
                view *= (generator.random(view.shape[1]) >= rate) / np.float32(1 - rate)
    return mask


def read_adapter(path: Path, shape: ModelShape) -> Lora:
    """The parameters of an adapter GGUF; DamagedDataError when it does not fit the model's shape."""
    file = GgufFile(path)
    short = {gguf: name for name, gguf in TARGETS.items()}
    parts = [match.groups() for match in map(ADAPTER_TENSOR.fullmatch, file.tensors) if match]
    names, layers = {name for _, name in parts}, {int(layer) for layer, _ in parts}
    if len(parts) != len(file.tensors) or not names or not names <= set(short):
        raise DamagedDataError(f"{path} has no LoRA tensors this model knows, or others too; train a new adapter")
    if max(layers) >= shape.layers:
        raise DamagedDataError(
            f"{path} has an adapter on layer {max(layers)}, the base model has {shape.layers}; it was made for another"
        )
    targets = ",".join(name for name in TARGETS if TARGETS[name] in names)
    # Without any lora_a, the first one is missed below.
    rank = next((tensor.shape[0] for name, tensor in file.tensors.items() if name.endswith("lora_a")), 1)
    alpha = file.metadata.get("adapter.lora.alpha") or rank  # llama.cpp reads a missing or zero alpha as a scale of 1
    lora = Lora(shape, targets, rank, alpha, shape.layers - min(layers))
    for name, view in lora.tensors().items():
        if name not in file.tensors or file.tensor(name).shape != view.shape:
            raise DamagedDataError(f"{path} does not fit the base model at {name}; it was made for another")
        view[...] = file.raw(name).view(np.float32)
    return lora
