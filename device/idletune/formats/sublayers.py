"""A layer of a model as a sequence of sublayers, and what a sublayer is made of.

A sublayer computes x + scale * post_norm(f(pre_norm(x))), where f mixes tokens (attention) or is a feed-forward
network. Its *kind* is what its training graphs depend on, and names their folder. Everything else, sizes and scales
above all, is an input of the graphs or follows from the shapes of their inputs.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from .rope import Rope

ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
FEED_FORWARD = ("ffn_gate", "ffn_up", "ffn_down")
SHORT_CONVOLUTION = ("shortconv.in_proj", "shortconv.out_proj")
PER_LAYER_INPUT = ("inp_gate", "proj")
GATED_DELTA_NET = ("attn_qkv", "attn_gate", "ssm_beta", "ssm_alpha", "ssm_out")
LINEARS = (*ATTENTION, *FEED_FORWARD, *SHORT_CONVOLUTION)
# Short names as in PEFT (q_proj: q) -> the names of linear layers here, which are GGUF's.
TARGETS = dict(zip(("q", "k", "v", "o", "gate", "up", "down", "in", "out"), LINEARS))


class Linear(NamedTuple):
    """A weight matrix (rows, columns): the rows of a GGUF tensor from `first_row` on.

    `tensor` is named without its layer ("attn_qkv.weight"); several linear layers may share a fused one.
    """

    rows: int
    columns: int
    tensor: str
    first_row: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.columns


class Vector(NamedTuple):
    """A norm's weight or a bias: `size` values of a GGUF tensor, named without its layer, from `first` on.

    With `taps` it is the kernel of a depthwise convolution: so many values for each channel.
    """

    size: int
    tensor: str
    first: int = 0
    taps: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size, self.taps) if self.taps else (self.size,)


@dataclass(frozen=True)
class AttentionKind:
    """What the graphs of an attention sublayer depend on.

    norms: where a norm stands, before f, after it or at both places. qk_norm: on Q and K, "head" by head before the
    rotary embedding, "head_after_rope" by head behind it, "full_width" over all heads together before it. v_norm: V is
    normalized by head, without a weight. kv: "lent" where layers above may use K and V too, "borrowed" where they are
    those of a layer below. biases: the linear layers with a bias. gated: attn_q has a second head_dim of rows in each
    head, whose sigmoid gates what the head attends to. soft_cap: scores are soft-capped. scaled_residual: the
    sublayer's result is scaled.
    """

    norms: str = "before"
    qk_norm: str = ""
    v_norm: bool = False
    kv: str = ""
    biases: tuple[str, ...] = ()
    gated: bool = False
    soft_cap: bool = False
    scaled_residual: bool = False

    # K and V stay float32: they are the smallest products, and their error is felt as much as that of a large one.
    int8_linears: ClassVar[tuple[str, ...]] = ("attn_q", "attn_output")

    @property
    def linears(self) -> tuple[str, ...]:
        return ("attn_q", "attn_output") if self.kv == "borrowed" else ATTENTION

    @property
    def name(self) -> str:
        """The name of its graphs' folder."""
        qk_norm = f"qk_norm_{self.qk_norm}" if self.qk_norm else ""
        biases = "".join(name.removeprefix("attn_")[0] for name in self.biases)
        parts = (
            "attention",
            f"norm_{self.norms}",
            qk_norm,
            f"kv_{self.kv}" if self.kv else "",
            f"bias_{biases}" if biases else "",
            *_switches(self),
        )
        return "-".join(part for part in parts if part)


@dataclass(frozen=True)
class FeedForwardKind:
    """What the graphs of a gated feed-forward sublayer depend on; activation: "silu" or "gelu" (by tanh)."""

    norms: str = "before"
    activation: str = "silu"
    scaled_residual: bool = False

    linears: ClassVar[tuple[str, ...]] = FEED_FORWARD
    int8_linears: ClassVar[tuple[str, ...]] = FEED_FORWARD

    @property
    def name(self) -> str:
        return "-".join(("feed_forward", f"norm_{self.norms}", self.activation, *_switches(self)))


@dataclass(frozen=True)
class ShortConvolutionKind:
    """A gated causal convolution over a few tokens (LFM2): out_proj(c * conv(b * x)) with b, c, x from in_proj."""

    norms: str = "before"
    scaled_residual: bool = False

    linears: ClassVar[tuple[str, ...]] = SHORT_CONVOLUTION
    int8_linears: ClassVar[tuple[str, ...]] = SHORT_CONVOLUTION

    @property
    def name(self) -> str:
        return "-".join(("short_convolution", f"norm_{self.norms}", *_switches(self)))


@dataclass(frozen=True)
class PerLayerInputKind:
    """A layer's own embedding of the token, gated by the hidden state (Gemma 4): proj(gelu(gate(x)) * embedding).

    The sublayer's output, residual included, is scaled.
    """

    norms: str = "after"
    scaled_residual: bool = False

    linears: ClassVar[tuple[str, ...]] = PER_LAYER_INPUT
    int8_linears: ClassVar[tuple[str, ...]] = ()  # they are narrow

    @property
    def name(self) -> str:
        return "-".join(("per_layer_input", f"norm_{self.norms}", *_switches(self)))


@dataclass(frozen=True)
class GatedDeltaNetKind:
    """Linear attention by the gated delta rule, behind a short convolution (Qwen 3.5; arXiv 2412.06464)."""

    norms: str = "before"
    scaled_residual: bool = False

    linears: ClassVar[tuple[str, ...]] = GATED_DELTA_NET
    int8_linears: ClassVar[tuple[str, ...]] = ("attn_qkv", "attn_gate", "ssm_out")

    @property
    def name(self) -> str:
        return "-".join(("gated_delta_net", f"norm_{self.norms}", *_switches(self)))


Kind = AttentionKind | FeedForwardKind | ShortConvolutionKind | PerLayerInputKind | GatedDeltaNetKind


def may_be_adapted(kind: Kind) -> bool:
    """Whether one of its linear layers is a LoRA target."""
    return not set(kind.linears).isdisjoint(TARGETS.values())


def _switches(kind: Kind) -> list[str]:
    return [name for name in ("v_norm", "gated", "soft_cap", "scaled_residual") if getattr(kind, name, False)]


@dataclass(frozen=True, kw_only=True)
class Sublayer:
    """One sublayer of a model: its kind, its tensors by role, and the numbers that are inputs of its graphs.

    Roles of linear layers are GGUF's names (attn_q); roles of vectors are pre_norm, post_norm, q_norm, k_norm and
    NAME.bias.
    """

    kind: Kind
    hidden: int
    linears: dict[str, Linear]
    vectors: dict[str, Vector]
    epsilon: float
    residual_scale: float = 1.0
    unused: tuple[str, ...] = ()  # tensors that a file may have and nothing is computed with

    @property
    def tensors(self) -> set[str]:
        """Names of its GGUF tensors, without the layer."""
        vectors = {one.tensor for one in self.vectors.values()}
        return {linear.tensor for linear in self.linears.values()} | vectors | set(self.unused)

    def saved_widths(self) -> dict[str, int]:
        """Width of each value that the forward pass keeps for the backward pass, a float32 (tokens, width)."""
        raise NotImplementedError

    def temporaries(self, tokens: int) -> int:
        """Float32 values that are alive at once inside the backward graph, at worst."""
        raise NotImplementedError

    @property
    def lends(self) -> bool:
        """Whether its graphs give K and V to other layers."""
        return getattr(self.kind, "kv", "") == "lent"

    def scalars(self) -> dict[str, float]:
        """Inputs of the graphs that are one number."""
        return {"epsilon": self.epsilon, "residual_scale": self.residual_scale}

    def _saved_output(self) -> dict[str, int]:
        """The gradient of a norm needs its input: here the result of f."""
        return {} if self.kind.norms == "before" else {"sublayer_output": self.hidden}


@dataclass(frozen=True, kw_only=True)
class Attention(Sublayer):
    """Causal attention with grouped queries.

    window: how many tokens it looks back, 0 = all. temperature: with it, scores of a query at position p are multiplied
    by 1 + temperature * ln(1 + floor(p / temperature_length)) (Llama 4's scaling for long contexts).
    kv_layer: the layer whose K and V it borrows, -1 where they are its own.
    """

    kind: AttentionKind
    heads: int
    kv_heads: int
    head_dim: int
    rope: Rope
    window: int = 0
    kv_layer: int = -1
    scale: float
    temperature: float = 0.0
    temperature_length: int = 1
    soft_cap: float = 0.0

    # (heads, tokens, tokens) arrays alive at once, measured (128 to 512 tokens in one segment, five shapes).
    SCORE_TEMPORARIES: ClassVar[int] = 2
    WIDE_TEMPORARIES: ClassVar[int] = 9  # (tokens, heads * head_dim) arrays alive at once, measured likewise
    GATE_TEMPORARIES: ClassVar[int] = 4  # the same, of a gated one

    def saved_widths(self) -> dict[str, int]:
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        own = {} if self.kind.kv == "borrowed" else {"k": kv, "v": kv}
        own |= {"gate": q} if self.kind.gated else {}
        return {"q": q, **own, "attn_out": q, "log_sum_exp": self.heads, **self._saved_output()}

    def temporaries(self, tokens: int) -> int:
        wide = self.WIDE_TEMPORARIES + self.GATE_TEMPORARIES * self.kind.gated
        widest = max(self.hidden, self.heads * self.head_dim)
        return tokens * (wide * widest + self.SCORE_TEMPORARIES * self.heads * tokens)

    def scalars(self) -> dict[str, float]:
        return {**super().scalars(), "attention_soft_cap": self.soft_cap}


@dataclass(frozen=True, kw_only=True)
class FeedForward(Sublayer):
    """A gated feed-forward network: down_proj(activation(gate_proj(h)) * up_proj(h))."""

    kind: FeedForwardKind

    WIDE_TEMPORARIES: ClassVar[float] = 7.2  # (tokens, feed_forward) arrays alive at once, measured

    def saved_widths(self) -> dict[str, int]:
        return {"gate": self.linears["ffn_gate"].rows, "up": self.linears["ffn_up"].rows, **self._saved_output()}

    def temporaries(self, tokens: int) -> int:
        return math.ceil(self.WIDE_TEMPORARIES * tokens * self.linears["ffn_gate"].rows)


@dataclass(frozen=True, kw_only=True)
class ShortConvolution(Sublayer):
    """A gated causal convolution; the vector "kernel" (hidden, taps) has the present token last."""

    kind: ShortConvolutionKind

    WIDE_TEMPORARIES: ClassVar[int] = 14  # (tokens, hidden) arrays alive at once

    @property
    def taps(self) -> int:
        return self.vectors["kernel"].taps

    def saved_widths(self) -> dict[str, int]:
        return {"in_proj": 3 * self.hidden, **self._saved_output()}

    def temporaries(self, tokens: int) -> int:
        return tokens * (self.WIDE_TEMPORARIES * self.hidden + (self.taps - 1) * (tokens + self.hidden))


@dataclass(frozen=True, kw_only=True)
class PerLayerInput(Sublayer):
    """The embedding of the token that layer `layer` of `layers` has of its own; the vector output_scale has 1 value."""

    kind: PerLayerInputKind
    layer: int
    layers: int

    WIDE_TEMPORARIES: ClassVar[int] = 6  # (tokens, hidden) arrays alive at once

    @property
    def width(self) -> int:
        return self.linears["inp_gate"].rows

    def saved_widths(self) -> dict[str, int]:
        return {"gate": self.width, **self._saved_output()}

    def temporaries(self, tokens: int) -> int:
        return tokens * (self.WIDE_TEMPORARIES * self.hidden + self.layers * self.width)


@dataclass(frozen=True, kw_only=True)
class GatedDeltaNet(Sublayer):
    """Linear attention; the vector "kernel" is that of the convolution over Q, K and V."""

    kind: GatedDeltaNetKind

    SQUARE_TEMPORARIES: ClassVar[int] = 14  # (heads, tokens, tokens) arrays alive at once
    WIDE_TEMPORARIES: ClassVar[int] = 12  # (tokens, channels) arrays alive at once

    @property
    def taps(self) -> int:
        return self.vectors["kernel"].taps

    def saved_widths(self) -> dict[str, int]:
        return {name: self.linears[name].rows for name in GATED_DELTA_NET[:4]} | self._saved_output()

    def temporaries(self, tokens: int) -> int:
        square = self.SQUARE_TEMPORARIES * self.linears["ssm_beta"].rows * tokens
        return tokens * (square + (self.WIDE_TEMPORARIES + self.taps) * self.linears["attn_qkv"].rows)


@dataclass(frozen=True)
class Layer:
    """The sublayers of a layer, in order."""

    sublayers: tuple[Sublayer, ...]

    @property
    def linears(self) -> dict[str, Linear]:
        """The linear layers of all its sublayers, by name."""
        return {name: linear for sublayer in self.sublayers for name, linear in sublayer.linears.items()}

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """(rows, columns) of the tensors that hold them, those that hold several included."""
        found: dict[str, tuple[int, int]] = {}
        for linear in self.linears.values():
            rows = max(linear.first_row + linear.rows, found.get(linear.tensor, (0, 0))[0])
            found[linear.tensor] = rows, linear.columns
        return found
