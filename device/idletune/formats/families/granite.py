"""granite and minicpm: llama with scales on embeddings, scores, residuals and logits."""

import math

from ..metadata import Metadata
from ..module_names import ModuleNames
from ..sublayers import AttentionKind, FeedForwardKind, Layer
from .family import (
    ROPE_FACTORS,
    ROPE_FREQS,
    Family,
    attention,
    factors,
    feed_forward,
    rope,
    without_rope,
)

ATTENTION, FEED_FORWARD = AttentionKind(scaled_residual=True), FeedForwardKind(scaled_residual=True)
KINDS = ATTENTION, FEED_FORWARD


def granite_layer(meta: Metadata, number: int) -> Layer:
    """With rope.scaling.finetuned false, the layers know no positions."""
    has_rope = meta.get("rope.scaling.finetuned", True)
    return _layer(meta, number, meta.number("residual_scale", 0.0) or 1.0, has_rope)


def minicpm_layer(meta: Metadata, number: int) -> Layer:
    default = 1.4 / math.sqrt(meta.size("block_count"))
    return _layer(meta, number, meta.number("residual_scale", default) or 1.0)


def _layer(meta: Metadata, number: int, residual_scale: float, has_rope: bool = True) -> Layer:
    longrope = meta.get("rope.scaling.type") == "longrope"
    turns = rope(meta, "neighbours", factors(meta) if longrope else ROPE_FREQS)
    scale = meta.number("attention.scale", 0.0)
    return Layer(
        (
            attention(
                meta,
                number,
                ATTENTION,
                turns if has_rope else without_rope("neighbours"),
                scale=scale,
                residual_scale=residual_scale,
            ),
            feed_forward(meta, number, FEED_FORWARD, residual_scale=residual_scale),
        )
    )


GRANITE = Family(
    "granite",
    KINDS,
    granite_layer,
    ModuleNames(("granite",), permutes=True),
    embedding_scale=lambda meta: meta.number("embedding_scale", 0.0) or 1.0,
    logit_scale=lambda meta: 1 / meta.number("logit_scale"),
    tensors=(ROPE_FREQS, *ROPE_FACTORS),
    models="Granite 3 and 4 dense",
)
MINICPM = Family(
    "minicpm",
    KINDS,
    minicpm_layer,
    ModuleNames(("minicpm",), permutes=True),
    embedding_scale=lambda meta: meta.number("embedding_scale", 12.0) or 1.0,
    logit_scale=lambda meta: 1 / meta.number("logit_scale", 256 / meta.size("embedding_length")),
    tensors=(ROPE_FREQS, *ROPE_FACTORS),
    models="MiniCPM",
)
