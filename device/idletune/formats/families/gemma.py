"""gemma2 and gemma3: norms around both sublayers, GeGLU, scaled embeddings, local layers with a window.

gemma3 normalizes Q and K, gemma2 soft-caps scores and logits instead. GGUF stores the weights of the norms with their 1
added.
"""

import math
from dataclasses import replace

from ..metadata import Metadata
from ..module_names import ModuleNames
from ..sublayers import AttentionKind, FeedForwardKind, Layer
from .family import Family, attention, feed_forward, is_local, rope

LOCAL_BASE, GEMMA3_GLOBAL_EVERY, GEMMA2_GLOBAL_EVERY, GEMMA2_WINDOW = 10000.0, 6, 2, 4096  # where a file has none
LARGEST = {"gemma2": 46, "gemma3": 62}  # layers of the 27B, which scales its scores by another width
GEMMA2_ATTENTION = AttentionKind(norms="both", soft_cap=True)
GEMMA3_ATTENTION = AttentionKind(norms="both", qk_norm="head")
FEED_FORWARD = FeedForwardKind(norms="both", activation="gelu")


def gemma2_layer(meta: Metadata, number: int) -> Layer:
    turns, window = rope(meta, "halves"), meta.size("attention.sliding_window", GEMMA2_WINDOW)
    if meta.get("rope.scaling.type") == "none" and meta.number("rope.scaling.factor", 1.0) != 1:
        meta.refuse("rope.scaling.factor")  # llama.cpp scales the positions of local layers all the same
    local = is_local(meta, number, GEMMA2_GLOBAL_EVERY)
    if local:
        turns = replace(turns, base=meta.number("rope.freq_base_swa", turns.base))
    soft_cap = meta.number("attn_logit_softcapping", 50.0)
    mixer = attention(
        meta,
        number,
        GEMMA2_ATTENTION,
        turns,
        window=window if local else 0,
        scale=score_scale(meta),
        soft_cap=soft_cap,
    )
    return Layer((mixer, feed_forward(meta, number, FEED_FORWARD)))


def gemma3_layer(meta: Metadata, number: int) -> Layer:
    """Linear scaling is of global layers alone; without a window in the file all layers are global."""
    turns, window = rope(meta, "halves"), meta.get("attention.sliding_window", 0)
    if turns.yarn:  # of which llama.cpp applies a part to local layers
        meta.refuse("rope.scaling.type")
    local = bool(window) and is_local(meta, number, GEMMA3_GLOBAL_EVERY)
    if local:
        window = meta.size("attention.sliding_window")
        turns = replace(turns, base=meta.number("rope.freq_base_swa", LOCAL_BASE), scale=1.0)
    mixer = attention(meta, number, GEMMA3_ATTENTION, turns, window=window if local else 0, scale=score_scale(meta))
    return Layer((mixer, feed_forward(meta, number, FEED_FORWARD)))


def score_scale(meta: Metadata) -> float:
    """Of the scores; 0 stands for 1 / sqrt(head width)."""
    if meta.size("block_count") != LARGEST[meta.architecture]:
        return 0.0
    return 1 / math.sqrt(meta.size("embedding_length") // meta.size("attention.head_count"))


def root_of_width(meta: Metadata) -> float:
    return math.sqrt(meta.size("embedding_length"))


GEMMA2 = Family(
    "gemma2",
    (GEMMA2_ATTENTION, FEED_FORWARD),
    gemma2_layer,
    ModuleNames(("gemma2",)),
    embedding_scale=root_of_width,
    logit_soft_cap=lambda meta: meta.number("final_logit_softcapping", 30.0),
    models="Gemma 2",
)
GEMMA3 = Family(
    "gemma3",
    (GEMMA3_ATTENTION, FEED_FORWARD),
    gemma3_layer,
    ModuleNames(("gemma3_text",)),
    embedding_scale=root_of_width,
    logit_soft_cap=lambda meta: meta.number("final_logit_softcapping", 0.0),
    models="Gemma 3",
    learning_rate=0.25,  # half of the rate gains 0.3 nats, a quarter a little more: docs/evidence.md
)
