"""olmo2 and exaone4: norms behind the sublayers alone; hunyuan-dense: norms on Q and K behind the rotation."""

from dataclasses import replace

from ..metadata import Metadata
from ..module_names import ModuleNames
from ..sublayers import AttentionKind, FeedForwardKind, Layer
from .family import ROPE_FREQS, Family, attention, feed_forward, head_width, is_local, rope, without_rope

OLMO2_ATTENTION = AttentionKind(norms="after", qk_norm="full_width")
EXAONE4_ATTENTION = AttentionKind(norms="after", qk_norm="head")
AFTER = FeedForwardKind(norms="after")
HUNYUAN_ATTENTION, BEFORE = AttentionKind(qk_norm="head_after_rope"), FeedForwardKind()
GLOBAL_EVERY, EXAONE4_WINDOW, LAYERS_WITH_WINDOW = 4, 4096, 64  # fixed in llama.cpp


def olmo2_layer(meta: Metadata, number: int) -> Layer:
    """OLMo 3 has local layers, with a rotary embedding that is not scaled."""
    turns, window = rope(meta, "halves"), meta.get("attention.sliding_window", 0)
    local = bool(window) and is_local(meta, number, GLOBAL_EVERY)
    if local:
        turns = replace(turns, scale=1.0, magnitude=1.0, yarn=None)
    mixer = attention(meta, number, OLMO2_ATTENTION, turns, window=window if local else 0)
    return Layer((mixer, feed_forward(meta, number, AFTER)))


def exaone4_layer(meta: Metadata, number: int) -> Layer:
    """The 32B alone has local layers; there the others know no positions."""
    turns, window = rope(meta, "halves", ROPE_FREQS), meta.size("attention.sliding_window", EXAONE4_WINDOW)
    mixed = meta.size("block_count") == LAYERS_WITH_WINDOW
    local = mixed and is_local(meta, number, GLOBAL_EVERY)
    if mixed and not local:
        turns = without_rope("halves")
    mixer = attention(meta, number, EXAONE4_ATTENTION, turns, window=window if local else 0)
    return Layer((mixer, feed_forward(meta, number, AFTER)))


def hunyuan_layer(meta: Metadata, number: int) -> Layer:
    turns, alpha, width = rope(meta, "halves"), meta.number("rope.scaling.alpha", 0.0), head_width(meta)
    if alpha > 0:  # NTK-aware scaling
        turns = replace(turns, base=turns.base * alpha ** (width / (width - 2)))
    mixer = attention(meta, number, HUNYUAN_ATTENTION, turns)
    return Layer((mixer, feed_forward(meta, number, BEFORE)))


OLMO2 = Family("olmo2", (OLMO2_ATTENTION, AFTER), olmo2_layer, ModuleNames(("olmo2", "olmo3")), models="OLMo 2 and 3")
EXAONE4 = Family(
    "exaone4",
    (EXAONE4_ATTENTION, AFTER),
    exaone4_layer,
    ModuleNames(("exaone4",)),
    tensors=(ROPE_FREQS,),
    models="EXAONE 4.0",
)
HUNYUAN = Family(
    "hunyuan-dense",
    (HUNYUAN_ATTENTION, BEFORE),
    hunyuan_layer,
    ModuleNames(("hunyuan_v1_dense",)),
    models="Hunyuan dense",
)
