"""lfm2 (LFM2, LFM2.5): most mixers are short convolutions, the others attention with norms on Q and K.

A layer without heads for keys is a convolution. GGUF calls the last norm token_embd_norm.
"""

from ..metadata import Metadata
from ..module_names import ATTENTION as ATTENTION_MODULES
from ..module_names import ModuleNames
from ..sublayers import (
    SHORT_CONVOLUTION,
    Attention,
    AttentionKind,
    FeedForwardKind,
    Layer,
    Linear,
    ShortConvolution,
    ShortConvolutionKind,
    Vector,
)
from .family import Family, attention, epsilon, feed_forward, norms, rope

ATTENTION, CONVOLUTION = AttentionKind(qk_norm="head"), ShortConvolutionKind()
FEED_FORWARD = FeedForwardKind()
MODULES = {
    **ATTENTION_MODULES,
    "attn_output": "self_attn.out_proj",
    "ffn_gate": "feed_forward.w1",
    "ffn_up": "feed_forward.w3",
    "ffn_down": "feed_forward.w2",
    "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj",
}


def layer(meta: Metadata, number: int) -> Layer:
    return Layer((mixer(meta, number), feed_forward(meta, number, FEED_FORWARD)))


def mixer(meta: Metadata, number: int) -> Attention | ShortConvolution:
    if not meta.of_layer("attention.head_count_kv", number):
        return short_convolution(meta)
    window = meta.get("attention.sliding_window", 0) and meta.size("attention.sliding_window")
    return attention(meta, number, ATTENTION, rope(meta, "halves"), window=window)


def short_convolution(meta: Metadata) -> ShortConvolution:
    hidden, (into, out) = meta.size("embedding_length"), SHORT_CONVOLUTION
    return ShortConvolution(
        kind=CONVOLUTION,
        hidden=hidden,
        linears={
            into: Linear(3 * hidden, hidden, f"{into}.weight"),
            out: Linear(hidden, hidden, f"{out}.weight"),
        },
        vectors={
            **norms(CONVOLUTION, hidden, "attn_norm", "post_attention_norm"),
            "kernel": Vector(hidden, "shortconv.conv.weight", taps=meta.size("shortconv.l_cache")),
        },
        epsilon=epsilon(meta),
    )


LFM2 = Family(
    "lfm2",
    (ATTENTION, CONVOLUTION, FEED_FORWARD),
    layer,
    ModuleNames(("lfm2",), modules=MODULES),
    output_norm="token_embd_norm.weight",
    models="LFM2, LFM2.5",
)
