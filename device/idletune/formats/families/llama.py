"""llama, and those that differ from it in their rotary embedding alone.

GGUF stores the pairs of most as neighbours; where Hugging Face's are halves, the converter permutes rows of Q and K.
"""

from dataclasses import replace

from ..metadata import Metadata
from ..module_names import ModuleNames
from ..rope import Rope
from ..sublayers import AttentionKind, FeedForwardKind, Layer
from .family import (
    ROPE_FACTORS,
    ROPE_FREQS,
    Family,
    attention,
    factors,
    feed_forward,
    original_context,
    rope,
    without_rope,
    yarn_magnitude,
)

ATTENTION, FEED_FORWARD = AttentionKind(), FeedForwardKind()
KINDS = ATTENTION, FEED_FORWARD
FUSED_MODULES = {
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_up": "mlp.gate_up_proj",
    "ffn_down": "mlp.down_proj",
}
EXAONE_MODULES = {
    "attn_q": "attn.attention.q_proj",
    "attn_k": "attn.attention.k_proj",
    "attn_v": "attn.attention.v_proj",
    "attn_output": "attn.attention.out_proj",
    "ffn_gate": "mlp.c_fc_0",
    "ffn_up": "mlp.c_fc_1",
    "ffn_down": "mlp.c_proj",
}
NO_ROPE_EVERY = 4  # smollm3: fixed in llama.cpp


def llama_layer(meta: Metadata, number: int) -> Layer:
    longrope = meta.get("rope.scaling.type") == "longrope"
    turns = rope(meta, "neighbours", factors(meta) if longrope else ROPE_FREQS)
    return _layer(meta, number, turns, meta.number("attention.scale", 0.0))


def smollm3_layer(meta: Metadata, number: int) -> Layer:
    turns = rope(meta, "neighbours") if (number + 1) % NO_ROPE_EVERY else without_rope("neighbours")
    return _layer(meta, number, turns, meta.number("attention.scale", 0.0))


def mistral3_layer(meta: Metadata, number: int) -> Layer:
    """Ministral 3: yarn with numbers of its own, and scores that grow beyond the original context."""
    turns = rope(meta, "neighbours", ROPE_FREQS)
    if turns.yarn:
        yarn = replace(
            turns.yarn,
            beta_fast=meta.number("rope.scaling.yarn_beta_fast", turns.yarn.beta_fast),
            beta_slow=meta.number("rope.scaling.yarn_beta_slow", turns.yarn.beta_slow),
        )
        multiplier = meta.number("rope.scaling.yarn_log_multiplier", 0.0)
        divided = yarn_magnitude(1 / turns.scale, multiplier) if multiplier else 1.0
        turns = replace(turns, yarn=yarn, magnitude=turns.magnitude / divided)
    found = attention(meta, number, ATTENTION, turns, scale=meta.number("attention.scale", 0.0))
    scaled = replace(
        found,
        temperature=meta.number("attention.temperature_scale", 0.0),
        temperature_length=original_context(meta),
    )
    return Layer((scaled, feed_forward(meta, number, FEED_FORWARD)))


def ernie_layer(meta: Metadata, number: int) -> Layer:
    return _layer(meta, number, rope(meta, "neighbours"))


def exaone_layer(meta: Metadata, number: int) -> Layer:
    return _layer(meta, number, rope(meta, "halves", ROPE_FREQS))


def phi3_layer(meta: Metadata, number: int) -> Layer:
    """Q, K and V in one matrix, gate and up in another; without the window that its files name, as llama.cpp does."""
    turns = rope(meta, "halves", factors(meta))
    if turns.yarn:  # llama.cpp applies its factors as well
        meta.refuse("rope.scaling.type")
    return _layer(meta, number, turns)


def _layer(meta: Metadata, number: int, turns: Rope, scale: float = 0.0) -> Layer:
    mixer = attention(meta, number, ATTENTION, turns, scale=scale)
    return Layer((mixer, feed_forward(meta, number, FEED_FORWARD)))


LLAMA = Family(
    "llama",
    KINDS,
    llama_layer,
    ModuleNames(("llama", "mistral"), permutes=True),
    tensors=(ROPE_FREQS, *ROPE_FACTORS),
    models="SmolLM2, Llama 3.2, TinyLlama, Danube",
)
SMOLLM3 = Family("smollm3", KINDS, smollm3_layer, ModuleNames(("smollm3",), permutes=True), models="SmolLM3")
MISTRAL3 = Family(
    "mistral3",
    KINDS,
    mistral3_layer,
    ModuleNames(("ministral3",), permutes=True),
    tensors=(ROPE_FREQS,),
    models="Ministral 3",
)
ERNIE4_5 = Family("ernie4_5", KINDS, ernie_layer, ModuleNames(("ernie4_5",)), models="ERNIE 4.5 0.3B")
EXAONE = Family(
    "exaone",
    KINDS,
    exaone_layer,
    ModuleNames(("exaone",), layers="transformer.h", modules=EXAONE_MODULES),
    tensors=(ROPE_FREQS,),
    models="EXAONE 3.5",
)
PHI3 = Family(
    "phi3",
    KINDS,
    phi3_layer,
    ModuleNames(("phi3",), modules=FUSED_MODULES),
    tensors=ROPE_FACTORS,
    models="Phi-3.5 mini, Phi-4-mini",
)
