"""gemma4 (Gemma 4 E2B, E4B): local and global layers with heads of their own width, embeddings of each layer's own.

- K and V of the last layers are those of the last local or global layer that has its own. An adapter can only stand
  above these: no gradient goes to them.
- Global layers rotate a part of their pairs: the divisors in rope_freqs are 1e30 for the others.
- Scores are not scaled, V is normalized without a weight, logits are soft-capped, and each layer's output is scaled.
"""

from dataclasses import replace

from ...errors import DamagedDataError
from ..metadata import Metadata
from ..module_names import ModuleNames
from ..rope import Rope
from ..sublayers import (
    PER_LAYER_INPUT,
    Attention,
    AttentionKind,
    FeedForwardKind,
    Layer,
    Linear,
    PerLayerInput,
    PerLayerInputKind,
    Vector,
)
from .family import ROPE_FREQS, Family, attention, epsilon, feed_forward, is_local, norms, rope
from .gemma import LOCAL_BASE, root_of_width

OWN = AttentionKind(norms="both", qk_norm="head", v_norm=True, kv="lent")
BORROWED = AttentionKind(norms="both", qk_norm="head", kv="borrowed")
FEED_FORWARD, LAYER_INPUT = FeedForwardKind(norms="both", activation="gelu"), PerLayerInputKind()
LAYER_EMBEDDINGS = ("per_layer_token_embd.weight", "per_layer_model_proj.weight", "per_layer_proj_norm.weight")


def layer(meta: Metadata, number: int) -> Layer:
    return Layer((mixer(meta, number), feed_forward(meta, number, FEED_FORWARD), layer_input(meta, number)))


def mixer(meta: Metadata, number: int) -> Attention:
    local, own = is_local(meta, number, 0), first_borrower(meta)
    made = attention(
        meta,
        number,
        OWN if number < own else BORROWED,
        local_rope(meta) if local else rope(meta, "halves", divisors=ROPE_FREQS),
        head_dim=meta.size("attention.key_length_swa" if local else "attention.key_length"),
        window=meta.size("attention.sliding_window") if local else 0,
        scale=1.0,
    )
    return made if number < own else borrowing(made, own - (2 if local else 1))


def first_borrower(meta: Metadata) -> int:
    """The first layer without K and V of its own. DamagedDataError where what lies below is not as llama.cpp takes it:
    a local layer, then a global one."""
    own = meta.size("block_count") - meta.get("attention.shared_kv_layers", 0)
    lenders = [is_local(meta, number, 0) for number in (own - 2, own - 1)]
    if own < meta.size("block_count") and (own < 2 or lenders != [True, False]):
        raise DamagedDataError(
            f"{meta.name} has {own} layers with K and V, the last two of which are not a local and a global one; "
            "convert the model again"
        )
    return own


def borrowing(own: Attention, from_layer: int) -> Attention:
    """The same attention with the K and V of another layer; the unused weights may be in the file all the same."""
    linears = {name: linear for name, linear in own.linears.items() if name in BORROWED.linears}
    unused = tuple({one.tensor for one in own.linears.values()} - {one.tensor for one in linears.values()})
    vectors = {role: vector for role, vector in own.vectors.items() if role != "k_norm"}
    unused += (own.vectors["k_norm"].tensor,)
    return replace(own, linears=linears, vectors=vectors, kv_layer=from_layer, unused=unused)


def local_rope(meta: Metadata) -> Rope:
    if meta.number("rope.scaling.attn_factor", 1.0) != 1:  # no Gemma 4 has one
        meta.refuse("rope.scaling.attn_factor")
    width = meta.size("attention.key_length_swa")
    dimensions, base = meta.size("rope.dimension_count_swa", width), meta.number("rope.freq_base_swa", LOCAL_BASE)
    return Rope("halves", dimensions, base=base)


def layer_input(meta: Metadata, number: int) -> PerLayerInput:
    hidden, (gate, out) = meta.size("embedding_length"), PER_LAYER_INPUT
    width = meta.size("embedding_length_per_layer_input")
    return PerLayerInput(
        kind=LAYER_INPUT,
        hidden=hidden,
        linears={gate: Linear(width, hidden, f"{gate}.weight"), out: Linear(hidden, width, f"{out}.weight")},
        vectors={
            **norms(LAYER_INPUT, hidden, "", "post_norm"),
            "output_scale": Vector(1, "layer_output_scale.weight"),
        },
        epsilon=epsilon(meta),
        layer=number,
        layers=meta.size("block_count"),
    )


GEMMA4 = Family(
    "gemma4",
    (OWN, BORROWED, FEED_FORWARD, LAYER_INPUT),
    layer,
    ModuleNames(("gemma4_text",)),
    embedding_scale=root_of_width,
    logit_soft_cap=lambda meta: meta.number("final_logit_softcapping", 0.0),
    tensors=(ROPE_FREQS, *LAYER_EMBEDDINGS),
    models="Gemma 4 E2B and E4B",
)
