"""The parameters of a LoRA adapter in GGUF layout: one flat vector with a view per tensor.

With one vector, the optimizer, gradient clipping and checkpoints are a few numpy calls, whatever the targets.
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
from ..formats.gguf_file import GgufFile
from ..formats.model_shape import ModelShape
from ..formats.sublayers import TARGETS, Linear, Sublayer
from ..settings import Settings
from .fused import Pair, is_whole, joined, split

ADAPTER_TENSOR = re.compile(r"blk\.(\d{1,6})\.([\w.]+\.weight)\.lora_([ab])")
MOST_RANK = 64


def target_names(targets: str) -> tuple[str, ...]:
    """'q,k,v,o' as GGUF names, in the model's order; UsageError for an unknown one."""
    asked = [name.strip() for name in targets.split(",") if name.strip()]
    unknown = [name for name in asked if name not in TARGETS]
    if unknown or not asked:
        raise UsageError(f"unknown LoRA target {', '.join(unknown) or targets!r}; choose from {', '.join(TARGETS)}")
    return tuple(TARGETS[name] for name in TARGETS if name in asked)


class Lora:
    """Parameters `flat` float32 (n,) and `layers`: per layer {name.lora_a: view, name.lora_b: view}, empty below
    layer `first`. `top_layers` of the model, counted from its output, carry an adapter, 0 = all, but none below
    shape.first_trainable."""

    def __init__(self, shape: ModelShape, targets: str, rank: int, alpha: float, top_layers: int = 0):
        if not 1 <= rank <= MOST_RANK:
            raise UsageError(f"rank {rank} is out of range; choose 1 to {MOST_RANK}")
        self.shape, self.targets, self.rank, self.alpha = shape, targets, rank, float(alpha)
        self.first = max(shape.first_trainable, shape.layers - top_layers if top_layers else 0)
        self.names = target_names(targets)
        if not self.trained_sublayers():
            raise UsageError(f"no layer from {self.first} on has one of the LoRA targets {targets}; choose others")
        self.flat = np.zeros(self.size, np.float32)
        self.layers = self.views(self.flat)

    @classmethod
    def from_settings(cls, shape: ModelShape, settings: Settings) -> "Lora":
        """A freshly initialized adapter of the form that the settings ask for."""
        s, top_layers = settings, max(1, round(settings.top_share * shape.layers))
        return cls(shape, s.targets, s.rank, s.alpha, top_layers).initialize(s.seed)

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def size(self) -> int:
        numbers = range(self.first, self.shape.layers)
        return sum(self.rank * sum(size) for number in numbers for size in self.sizes(number).values())

    def sizes(self, number: int) -> dict[str, tuple[int, int]]:
        """(rows, columns) of the linear layers that carry an adapter in a layer from `first` on."""
        shapes = self.shape.linear_shapes(number)
        return {name: shapes[name] for name in self.names if name in shapes}

    def trained_sublayers(self) -> list[Sublayer]:
        """The sublayers that a gradient reaches: from the first one with an adapter on."""
        sublayers = [one for layer in self.shape.table[self.first :] for one in layer.sublayers]
        adapted = (n for n, one in enumerate(sublayers) if not one.linears.keys().isdisjoint(self.names))
        return sublayers[next(adapted, len(sublayers)) :]

    def views(self, flat: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Any vector of the parameters' length (a gradient, a moment) as named tensors per layer."""
        at = 0
        layers: list[dict[str, np.ndarray]] = [{} for _ in range(self.first)]
        for number in range(self.first, self.shape.layers):
            views = {}
            for name, (rows, columns) in self.sizes(number).items():
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
    def disabled(self) -> Iterator[None]:
        """The base model alone inside the block, as PEFT's disable_adapter."""
        alpha, self.alpha = self.alpha, 0.0
        try:
            yield
        finally:
            self.alpha = alpha

    def rescale(self, factor: float) -> None:
        """Multiply the adapter scale by `factor`. Only alpha changes; the tensors stay as they were trained."""
        self.alpha *= factor

    def tensors(self) -> dict[str, np.ndarray]:
        """The tensors under the names of an adapter GGUF; those of a fused matrix are one (see fused.py)."""
        found: dict[str, np.ndarray] = {}
        for number, views in enumerate(self.layers):
            for tensor, linears in _by_tensor(self.shape, number).items():
                pairs = {
                    name: (views[f"{name}.lora_a"], views[f"{name}.lora_b"])
                    for name in linears
                    if f"{name}.lora_a" in views
                }
                if pairs:
                    whole = all(is_whole(name, linear) for name, linear in linears.items())
                    a, b = next(iter(pairs.values())) if whole else joined(pairs, linears)
                    found |= {f"blk.{number}.{tensor}.lora_a": a, f"blk.{number}.{tensor}.lora_b": b}
        return found


def widened(lora: Lora, settings: Settings) -> Lora:
    """The same update in the form that the settings ask for: further ranks and modules have no effect until they are
    trained. The adapter itself where it has that form, or ranks or modules beyond it."""
    wide = Lora.from_settings(lora.shape, settings)
    beyond = any(own.keys() - views.keys() for own, views in zip(lora.layers, wide.layers))
    if lora.rank > wide.rank or beyond or lora.size == wide.size:
        return lora
    for own, views in zip(lora.layers, wide.layers):
        for name, view in own.items():
            if name.endswith("lora_a"):
                views[name][: lora.rank] = view
            else:
                views[name][:, : lora.rank] = view * np.float32(lora.scale / wide.scale)
    return wide


def dropout_mask(lora: Lora, rate: float, seed: list[int]) -> np.ndarray | None:
    """Dropout factors for every parameter, of the inputs of the adapter with probability `rate`; None where it is 0.

    One mask for a whole packed sequence (variational dropout: Gal & Ghahramani 2016, arXiv 1512.05287): to drop an
    input is to zero its column of A. So the graphs need no dropout, and no mask is kept per token.
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
    """An adapter GGUF as parameters that compute the same, and that training can go on from.

    llama.cpp applies adapters to any set of layers, with any rank for each. Here all upper layers have the same targets
    and one rank: a missing module gets one without effect (B zero), a smaller rank is filled up the same way.
    DamagedDataError names what does not fit the model's shape, UsageError a rank or number format that is not served.
    """
    file = GgufFile(path)
    modules = _modules(file, shape)
    rank = max(len(a) for a, _ in modules.values())
    if rank > MOST_RANK:
        raise UsageError(f"{file.path.name} has rank {rank}; {MOST_RANK} is the most that is served")
    alpha = alpha_of(file.metadata, file.path.name)
    targets = ",".join(short for short, name in TARGETS.items() if any(name == known for _, known in modules))
    first = min(layer for layer, _ in modules)
    # llama.cpp reads a missing or zero alpha as a scale of 1.
    lora = Lora(shape, targets, rank, alpha or rank, shape.layers - first).initialize(0)
    for (layer, name), (a, b) in modules.items():
        views, own = lora.layers[layer], len(a)
        views[f"{name}.lora_a"][:own] = a
        views[f"{name}.lora_b"][:, :own] = b * np.float32(rank / own if alpha else 1)  # its scale is alpha / own
    return lora


def alpha_of(metadata: dict, name: str) -> float:
    """The alpha of an adapter GGUF, 0.0 where it has none. DamagedDataError for what is no usable number."""
    alpha = metadata.get("adapter.lora.alpha", 0.0)
    if type(alpha) not in (int, float) or not math.isfinite(alpha):
        raise DamagedDataError(f"{name} has the alpha {alpha!r}, which is no number; convert the adapter again")
    return float(alpha)


def _by_tensor(shape: ModelShape, number: int) -> dict[str, dict[str, Linear]]:
    """The linear layers of a layer, by the tensor that holds them."""
    found: dict[str, dict[str, Linear]] = {}
    for name, linear in shape.table[number].linears.items():
        found.setdefault(linear.tensor, {})[name] = linear
    return found


def _modules(file: GgufFile, shape: ModelShape) -> dict[tuple[int, str], Pair]:
    """(layer, name of a linear layer) to A (rank, columns) and B (rows, rank), float32."""
    scaled = bool(file.metadata.get("adapter.lora.alpha"))
    found: dict[tuple[int, str], Pair] = {}
    for (number, tensor), (a, b) in _tensor_pairs(file, shape).items():
        linears = _by_tensor(shape, number)[tensor]
        whole = all(is_whole(name, linear) for name, linear in linears.items())
        parts = {name: (a, b) for name in linears} if whole else split(a, b, linears, scaled)
        found |= {(number, name): pair for name, pair in parts.items()}
    if not found:
        raise DamagedDataError(f"{file.path.name} has no LoRA matrices with an effect; train the adapter")
    return found


def _tensor_pairs(file: GgufFile, shape: ModelShape) -> dict[tuple[int, str], Pair]:
    """(layer, tensor) to A (rank, columns) and B (rows, rank), float32; every tensor of the file is in it."""
    name = file.path.name
    linears = [pair for layer in shape.table for pair in layer.linears.items()]
    known = {linear.tensor for role, linear in linears if role in TARGETS.values()}
    found: dict[tuple[int, str], dict[str, np.ndarray]] = {}
    for tensor in file.tensors:
        match = ADAPTER_TENSOR.fullmatch(tensor)
        if not match or match[2] not in known:
            names = ", ".join(sorted(one.removesuffix(".weight") for one in known))
            raise DamagedDataError(f"{name} has {tensor}, no LoRA matrix of the layers that are adapted here ({names})")
        _check_layer(name, int(match[1]), shape)
        found.setdefault((int(match[1]), match[2]), {})[match[3]] = _matrix(file, tensor)
    if not found:
        raise DamagedDataError(f"{name} has no LoRA matrices; convert the adapter again")
    for (layer, linear), sides in found.items():
        a, b = sides.get("a"), sides.get("b")
        if a is None or b is None:
            raise DamagedDataError(f"{name} has only one of the two matrices of blk.{layer}.{linear}; convert it again")
        rows, columns = shape.table[layer].matrices.get(linear, (0, 0))
        if a.shape[1] != columns or b.shape != (rows, len(a)):
            wanted = f"(r, {columns}) and ({rows}, r), it has {a.shape} and {b.shape}"
            raise DamagedDataError(f"{name} does not fit blk.{layer}.{linear}, which takes {wanted}; made for another")
    return {place: (sides["a"], sides["b"]) for place, sides in found.items()}


def _check_layer(name: str, layer: int, shape: ModelShape) -> None:
    """DamagedDataError for a layer that the model does not have, UsageError for one that no gradient goes to."""
    if layer >= shape.layers:
        has = f"has an adapter on layer {layer}, the base model has {shape.layers} layers"
        raise DamagedDataError(f"{name} {has}; it was made for another")
    if layer < shape.first_trainable:
        raise UsageError(
            f"{name} has an adapter on layer {layer}, whose K and V layers above may borrow; this model is trained "
            f"from layer {shape.first_trainable} on: give an adapter of those"
        )


def _matrix(file: GgufFile, name: str) -> np.ndarray:
    """A tensor of real numbers as float32 (rows, columns)."""
    tensor = file.tensor(name)
    kind = tensor.type.name
    if len(tensor.shape) != 2:
        raise DamagedDataError(f"{file.path.name} has {name} with {len(tensor.shape)} dimensions, not 2; convert again")
    if kind not in ("F32", "F16", "BF16"):
        step = "convert the adapter with --precision F32"
        raise UsageError(f"{file.path.name} stores its matrices in fewer bits ({kind}); {step}")
    raw = file.raw(name)
    if kind == "BF16":  # the upper half of a float32
        values = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        with np.errstate(invalid="ignore", over="ignore"):  # what is no number is found by who looks for it
            values = raw.view("<f2" if kind == "F16" else "<f4").astype(np.float32)
    return values.reshape(tensor.shape)
