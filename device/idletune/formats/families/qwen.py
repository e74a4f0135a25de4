"""qwen2 (Qwen 1.5 to 2.5, R1 distillations) with biases on Q, K and V; qwen3 with norms on Q and K instead."""

from ..metadata import Metadata
from ..module_names import ModuleNames
from ..sublayers import ATTENTION, AttentionKind, FeedForwardKind, Layer
from .family import Family, attention, feed_forward, rope

WITH_BIASES, WITH_NORMS = AttentionKind(biases=ATTENTION[:3]), AttentionKind(qk_norm="head")
FEED_FORWARD = FeedForwardKind()


def qwen2_layer(meta: Metadata, number: int) -> Layer:
    mixer = attention(meta, number, WITH_BIASES, rope(meta, "halves"))
    return Layer((mixer, feed_forward(meta, number, FEED_FORWARD)))


def qwen3_layer(meta: Metadata, number: int) -> Layer:
    mixer = attention(meta, number, WITH_NORMS, rope(meta, "halves"))
    return Layer((mixer, feed_forward(meta, number, FEED_FORWARD)))


QWEN2 = Family(
    "qwen2",
    (WITH_BIASES, FEED_FORWARD),
    qwen2_layer,
    ModuleNames(("qwen2",)),
    models="Qwen 2.5, DeepSeek R1 Distill Qwen",
)
QWEN3 = Family("qwen3", (WITH_NORMS, FEED_FORWARD), qwen3_layer, ModuleNames(("qwen3",)), models="Qwen 3")
