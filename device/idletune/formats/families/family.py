"""What one model family says of itself, and the parts that most families share.

A family's file maps the metadata of its GGUF files to a table of layers. How llama.cpp reads the same metadata stands
in its src/models/*.cpp and src/llama-model.cpp; each helper here follows its defaults.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..metadata import Metadata
from ..module_names import ModuleNames
from ..rope import Rope, Yarn
from ..sublayers import ATTENTION, Attention, AttentionKind, FeedForward, FeedForwardKind, Kind, Layer, Linear, Vector

Number = Callable[[Metadata], float]
ROPE_FREQS = "rope_freqs.weight"  # Llama 3.1: a divisor for each pair
ROPE_FACTORS = ("rope_factors_short.weight", "rope_factors_long.weight")
CONTEXT_MULTIPLE = 256  # llama.cpp rounds a context up to it


@dataclass(frozen=True)
class Family:
    """A family by its GGUF architecture.

    `layer` gives the sublayers of a layer, counted from 0, whose kinds are among `kinds`; `names` are those of
    transformers; `tensors` are those that it reads beside the layers'. The scales multiply input embeddings and logits;
    logits are soft-capped at `logit_soft_cap`, 0 = not at all. `output_norm` is the tensor of the norm before the
    output matrix. `draft_layers` are the last of block_count that guess further tokens, which is not done here.
    `learning_rate` is a factor on that setting, where one was measured.
    """

    architecture: str
    kinds: tuple[Kind, ...]
    layer: Callable[[Metadata, int], Layer]
    names: ModuleNames
    embedding_scale: Number = lambda meta: 1.0
    logit_scale: Number = lambda meta: 1.0
    logit_soft_cap: Number = lambda meta: 0.0
    output_norm: str = "output_norm.weight"
    tensors: tuple[str, ...] = ()
    draft_layers: Number = lambda meta: 0
    models: str = ""  # that people know
    learning_rate: float = 1.0


def attention(
    meta: Metadata,
    layer: int,
    kind: AttentionKind,
    rope: Rope,
    *,
    head_dim: int = 0,
    window: int = 0,
    scale: float = 0.0,
    soft_cap: float = 0.0,
    residual_scale: float = 1.0,
) -> Attention:
    """Attention with the usual tensor names; `head_dim` 0 = as the metadata say, `scale` of the scores 0 =
    1 / sqrt(head_dim).

    Biases on Q, K and V are those the file has; Q, K and V may lie in one tensor, attn_qkv.
    """
    hidden, heads = meta.size("embedding_length"), meta.of_layer("attention.head_count", layer)
    kv_heads, head_dim = meta.of_layer("attention.head_count_kv", layer, heads), head_dim or head_width(meta, layer)
    q, kv = heads * head_dim, kv_heads * head_dim
    sizes = {"attn_q": q, "attn_k": kv, "attn_v": kv}
    tensors = _fused_qkv(meta, layer, sizes)
    linears = {name: Linear(sizes[name], hidden, f"{tensor}.weight", at) for name, (tensor, at) in tensors.items()}
    linears["attn_output"] = Linear(hidden, q, "attn_output.weight")
    vectors = norms(kind, hidden, "attn_norm", "post_attention_norm")
    if kind.qk_norm:
        q_norm, k_norm = (q, kv) if kind.qk_norm == "full_width" else (head_dim, head_dim)
        vectors |= {"q_norm": Vector(q_norm, "attn_q_norm.weight"), "k_norm": Vector(k_norm, "attn_k_norm.weight")}
    for name, (tensor, at) in tensors.items():
        if f"blk.{layer}.{tensor}.bias" in meta.tensors:
            vectors[f"{name}.bias"] = Vector(sizes[name], f"{tensor}.bias", at)
    return Attention(
        kind=replace(kind, biases=tuple(name for name in ATTENTION if f"{name}.bias" in vectors)),
        hidden=hidden,
        linears=linears,
        vectors=vectors,
        epsilon=epsilon(meta),
        residual_scale=residual_scale,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope=rope,
        window=window,
        scale=scale or 1 / math.sqrt(head_dim),
        soft_cap=soft_cap,
    )


def feed_forward(
    meta: Metadata, layer: int, kind: FeedForwardKind, *, residual_scale: float = 1.0, pre_norm: str = "ffn_norm"
) -> FeedForward:
    """A gated feed-forward network; without a tensor ffn_gate, ffn_up holds the rows of gate, then those of up."""
    hidden, width = meta.size("embedding_length"), meta.of_layer("feed_forward_length", layer)
    fused = f"blk.{layer}.ffn_up.weight" in meta.tensors and f"blk.{layer}.ffn_gate.weight" not in meta.tensors
    linears = {
        "ffn_gate": Linear(width, hidden, "ffn_up.weight" if fused else "ffn_gate.weight"),
        "ffn_up": Linear(width, hidden, "ffn_up.weight", width if fused else 0),
        "ffn_down": Linear(hidden, width, "ffn_down.weight"),
    }
    return FeedForward(
        kind=kind,
        hidden=hidden,
        linears=linears,
        vectors=norms(kind, hidden, pre_norm, "post_ffw_norm"),
        epsilon=epsilon(meta),
        residual_scale=residual_scale,
    )


def norms(kind: Kind, hidden: int, before: str, after: str) -> dict[str, Vector]:
    """The norms of a sublayer by role, from the tensors of these names."""
    found = {} if kind.norms == "after" else {"pre_norm": Vector(hidden, f"{before}.weight")}
    return found if kind.norms == "before" else {**found, "post_norm": Vector(hidden, f"{after}.weight")}


def head_width(meta: Metadata, layer: int = 0) -> int:
    """Values of an attention head."""
    default = meta.size("embedding_length") // max(1, meta.of_layer("attention.head_count", layer))
    return meta.size("attention.key_length", default)


def epsilon(meta: Metadata) -> float:
    return meta.number("attention.layer_norm_rms_epsilon")


def rope(meta: Metadata, pairs: str, divisors: str = "") -> Rope:
    """The rotary embedding that the metadata describe; `divisors` names a tensor that is used where the file has it.

    llama.cpp takes the scaling for linear where its type is missing, and reads `scale_linear` for the factor.
    """
    kind = meta.get("rope.scaling.type", "linear")
    factor = meta.number("rope.scaling.factor", meta.number("rope.scale_linear", 0.0)) or 1.0
    found = Rope(
        pairs=pairs,
        dimensions=meta.size("rope.dimension_count", head_width(meta)),
        base=meta.number("rope.freq_base", 10000.0),
        scale=1.0 if kind == "none" else 1 / factor,
        magnitude=meta.number("rope.scaling.attn_factor", 1.0),
        divisors=divisors if divisors in meta.tensors else "",
    )
    if kind != "yarn":
        return found
    return replace(
        found, yarn=Yarn(original_context(meta)), magnitude=found.magnitude * yarn_magnitude(1 / found.scale)
    )


def yarn_magnitude(factor: float, multiplier: float = 1.0) -> float:
    """get_mscale of llama-context.cpp; what llama.cpp divides by there, ggml's rope_yarn multiplies again."""
    return 1.0 if factor <= 1 else 0.1 * multiplier * math.log(factor) + 1


def original_context(meta: Metadata) -> int:
    """How many positions the model knew before its rotary embedding was scaled."""
    return meta.size("rope.scaling.original_context_length", meta.get("context_length", 1))


def factors(meta: Metadata) -> str:
    """The tensor of longrope's divisors for the context that is served.

    llama.cpp chooses by the size of its context and not by a row's length (llama_model::get_rope_factors), so a short
    row in a long context has the long factors, too. Transformers chooses by the row.
    """
    cells = -(-meta.context // CONTEXT_MULTIPLE) * CONTEXT_MULTIPLE
    return ROPE_FACTORS[cells > original_context(meta)]


def without_rope(pairs: str) -> Rope:
    """Of a layer that knows no positions."""
    return Rope(pairs, dimensions=0)


def is_local(meta: Metadata, layer: int, every: int) -> bool:
    """Whether a layer has the sliding window: every n-th one is global, or the file has an entry for each layer."""
    pattern = meta.get("attention.sliding_window_pattern", every)
    if isinstance(pattern, list):
        return bool(pattern[layer])
    return pattern == 0 or layer % pattern < pattern - 1


def _fused_qkv(meta: Metadata, layer: int, sizes: dict[str, int]) -> dict[str, tuple[str, int]]:
    """The tensor and the first row of Q, K and V."""
    if f"blk.{layer}.attn_qkv.weight" not in meta.tensors:
        return {name: (name, 0) for name in sizes}
    starts = {"attn_q": 0, "attn_k": sizes["attn_q"], "attn_v": sizes["attn_q"] + sizes["attn_k"]}
    return {name: ("attn_qkv", start) for name, start in starts.items()}
