"""A base model in PyTorch, frozen: its sublayers over padded rows of tokens, each row under an adapter of its own.

The weights are those of the GGUF file, dequantized by the product's own code; the arithmetic is that of the training
graphs (rms norms, rotary pairs, gated feed-forward) in float32, on a GPU with products in TF32. Known are the kinds of
sublayers of llama, qwen2, qwen3 and gemma3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.formats.rope import cos_sin
from idletune.formats.sublayers import Attention, FeedForward, Sublayer
from idletune.training.weights import Weights

POSITIONS = 2048  # of the rotary tables
LOGITS = 1 << 29  # logits that exist at once, in the head
ACTIVATIONS = {"silu": F.silu, "gelu": lambda x: F.gelu(x, approximate="tanh")}
Pair = tuple[torch.Tensor, torch.Tensor]  # A (rows, rank, columns) and B (rows, rows of the matrix, rank)


@dataclass(frozen=True)
class Step:
    """A sublayer in the order of the forward pass, with its weights by the names of the training graphs."""

    layer: int
    sublayer: Sublayer
    weights: dict[str, torch.Tensor]


@dataclass
class Adapter:
    """Updates of linear layers: for (layer, name) the A and B of each row, times `scale`."""

    pairs: Mapping[tuple[int, str], Pair]
    scale: float

    def update(self, key: tuple[int, str], x: torch.Tensor) -> torch.Tensor | None:
        """B A x for x (rows, T, columns); None where the layer carries no adapter."""
        if key not in self.pairs:
            return None
        a, b = self.pairs[key]
        return torch.bmm(torch.bmm(x, a.mT), b.mT) * self.scale


@dataclass
class Place:
    """Where the tokens of padded rows stand: positions int64 (rows, T), and which keys each token may see, bool (rows,
    T, keys) with keys at `key_positions` (rows, keys)."""

    positions: torch.Tensor
    visible: torch.Tensor
    key_positions: torch.Tensor
    _masks: dict[int, torch.Tensor] = field(default_factory=dict)

    def mask(self, window: int) -> torch.Tensor:
        """What may be seen within a window (0 = any distance), bool (rows, 1, T, keys)."""
        if window not in self._masks:
            near = self.positions[:, :, None] - self.key_positions[:, None, :] < window
            self._masks[window] = (self.visible & near if window else self.visible)[:, None]
        return self._masks[window]


class FrozenModel:
    """The model of a GGUF file on a device ("cpu", "cuda"). Raises ValueError for kinds of sublayers it has not."""

    def __init__(self, path: Path, device: str = "cpu", threads: int = 1):
        gguf = GgufFile(path)
        self.shape, self.device = ModelShape.of(gguf), torch.device(device)
        weights = Weights(gguf, self.shape, threads=threads)
        self.steps = [
            Step(number, sublayer, {name: self._here(array) for name, array in weights.sublayer(number, index).items()})
            for number, layer in enumerate(self.shape.table)
            for index, sublayer in enumerate(layer.sublayers)
        ]
        for step in self.steps:
            _refuse_unknown(step.sublayer)
        if self.shape.logit_soft_cap:
            raise ValueError("soft-capped logits are not known here")
        self.output = self._here(np.concatenate([chunk.copy() for chunk in weights.output_chunks()]))
        tied = "output.weight" not in gguf.tensors
        everything = np.arange(0 if tied else self.shape.vocabulary)
        self.embedding = self.output if tied else self._here(weights.embed(everything)) / self.shape.embedding_scale
        self.output_norm = self._here(weights.output_norm)
        self._rotary: dict[tuple, Pair] = {}
        for step in self.steps:
            if isinstance(step.sublayer, Attention):
                self._add_rotary(step.sublayer, weights)

    def _here(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, device=self.device)  # a copy: the array may be a buffer

    def _add_rotary(self, sublayer: Attention, weights: Weights) -> None:
        rope = sublayer.rope
        if rope not in self._rotary:
            divisors = weights.first_of(rope.divisors, rope.dimensions // 2) if rope.divisors else None
            tables = cos_sin(rope, np.arange(POSITIONS), sublayer.head_dim, divisors)
            self._rotary[rope] = tuple(map(self._here, tables))

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Input embeddings of token ids (...): float32 (..., hidden)."""
        return F.embedding(tokens, self.embedding) * self.shape.embedding_scale

    def forward(
        self, x: torch.Tensor, place: Place, steps: range, adapter: Adapter | None = None, cache=None
    ) -> torch.Tensor:
        """Hidden states (rows, T, hidden) after some of the steps. `cache` holds the K and V of earlier tokens (see
        sampling.Cache)."""
        for number in steps:
            x = self._sublayer(number, x, place, adapter, cache)
        return x

    def token_losses(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy in nats, float32 (n,), of hidden states (n, hidden) that leave the last layer."""
        return TokenLosses.apply(self.last_norm(x), self.output, labels)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(n, vocabulary) of hidden states (n, hidden) that leave the last layer."""
        return self.last_norm(x) @ self.output.T

    def last_norm(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], self.output_norm, self.shape.epsilon)

    def _sublayer(self, number: int, x: torch.Tensor, place: Place, adapter, cache) -> torch.Tensor:
        """x + scale * post_norm(f(pre_norm(x)))."""
        step = self.steps[number]
        sublayer, weights = step.sublayer, step.weights

        def norm(name: str, x: torch.Tensor) -> torch.Tensor:
            return F.rms_norm(x, x.shape[-1:], weights[name], sublayer.epsilon) if name in weights else x

        def linear(name: str, x: torch.Tensor) -> torch.Tensor:
            y = F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))
            update = adapter.update((step.layer, name), x) if adapter else None
            return y if update is None else y + update

        h = norm("pre_norm", x)
        if isinstance(sublayer, FeedForward):
            activation = ACTIVATIONS[sublayer.kind.activation]
            y = linear("ffn_down", activation(linear("ffn_gate", h)) * linear("ffn_up", h))
        else:
            y = linear("attn_output", self._attend(number, sublayer, h, place, linear, norm, cache))
        return x + sublayer.residual_scale * norm("post_norm", y)

    def _attend(self, number: int, sublayer: Attention, h: torch.Tensor, place: Place, linear, norm, cache):
        """What each token reads from those that it sees: (rows, T, heads * head_dim)."""
        cos, sin = (table[place.positions][:, :, None] for table in self._rotary[sublayer.rope])

        def heads(name: str) -> torch.Tensor:
            return linear(name, h).unflatten(-1, (-1, sublayer.head_dim))

        def turned(x: torch.Tensor) -> torch.Tensor:
            return x * cos + rotate_half(x, sublayer.rope.pairs) * sin

        q, k = turned(norm("q_norm", heads("attn_q"))), turned(norm("k_norm", heads("attn_k")))
        q, k, v = (one.transpose(1, 2) for one in (q, k, heads("attn_v")))
        if cache is not None:
            k, v = cache.extended(number, k, v, place.positions)
        k, v = (one.repeat_interleave(sublayer.heads // sublayer.kv_heads, dim=1) for one in (k, v))
        found = F.scaled_dot_product_attention(q, k, v, place.mask(sublayer.window), scale=sublayer.scale)
        return found.transpose(1, 2).flatten(2)


def rotate_half(x: torch.Tensor, pairs: str) -> torch.Tensor:
    """(-b, a) for each pair (a, b) of the last axis."""
    if pairs == "neighbours":
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([-b, a], -1).flatten(-2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([-b, a], -1)


class TokenLosses(torch.autograd.Function):
    """Cross-entropies of normed states (n, hidden), a few rows of logits at a time; the gradient of each is computed
    with it, as the product's head does (training/head.py), so that the logits of all never exist."""

    @staticmethod
    def forward(ctx, h, output, labels):
        losses, slopes, rows = [], [], max(1, LOGITS // len(output))
        for part, wanted in zip(h.split(rows), labels.split(rows)):
            logits = part @ output.T
            total = logits.logsumexp(1)
            losses.append(total - logits.gather(1, wanted[:, None])[:, 0])
            if ctx.needs_input_grad[0]:
                slopes.append(torch.exp_(logits.sub_(total[:, None])) @ output - output[wanted])
        ctx.slopes = torch.cat(slopes) if slopes else None
        return torch.cat(losses)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.slopes * gradient[:, None], None, None


def _refuse_unknown(sublayer: Sublayer) -> None:
    kind = sublayer.kind
    if isinstance(sublayer, FeedForward):
        return
    plain = isinstance(sublayer, Attention) and not (kind.v_norm or kind.kv or kind.gated or kind.soft_cap)
    whole = plain and sublayer.rope.dimensions == sublayer.head_dim and not sublayer.temperature
    if not whole or kind.qk_norm not in ("", "head"):
        raise ValueError(f"sublayers of the kind {kind.name} are not known here")
