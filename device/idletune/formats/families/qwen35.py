"""qwen35 (Qwen 3.5): of four layers three mix tokens by a gated delta net, the fourth by attention with a gate.

The sections of the rotary embedding are for images: text has the same position in all of them. The norm before the
feed-forward network is called post_attention_norm.
"""

from dataclasses import replace

from ...errors import DamagedDataError
from ..metadata import Metadata
from ..module_names import ModuleNames
from ..sublayers import (
    GATED_DELTA_NET,
    Attention,
    AttentionKind,
    FeedForwardKind,
    GatedDeltaNet,
    GatedDeltaNetKind,
    Layer,
    Linear,
    Vector,
)
from .family import Family, attention, epsilon, feed_forward, norms, rope

ATTENTION, DELTA_NET = AttentionKind(qk_norm="head", gated=True), GatedDeltaNetKind()
FEED_FORWARD = FeedForwardKind()
ATTENTION_EVERY = 4  # where the file does not say otherwise


def layer(meta: Metadata, number: int) -> Layer:
    mixer = delta_net(meta, number) if is_recurrent(meta, number) else gated_attention(meta, number)
    return Layer((mixer, feed_forward(meta, number, FEED_FORWARD, pre_norm="post_attention_norm")))


def is_recurrent(meta: Metadata, number: int) -> bool:
    every = meta.size("full_attention_interval", ATTENTION_EVERY)
    listed = meta.get("attention.recurrent_layers")
    return bool(listed[number]) if isinstance(listed, list) else (number + 1) % every != 0


def gated_attention(meta: Metadata, number: int) -> Attention:
    made = attention(meta, number, ATTENTION, rope(meta, "halves"))
    q = made.linears["attn_q"]
    return replace(made, linears=made.linears | {"attn_q": q._replace(rows=2 * q.rows)})


def delta_net(meta: Metadata, number: int) -> GatedDeltaNet:
    """DamagedDataError for heads of values that are no multiple of those of keys, or of another width."""
    hidden, width, heads = (meta.size(key) for key in ("embedding_length", "ssm.state_size", "ssm.time_step_rank"))
    key_heads, values = meta.size("ssm.group_count"), meta.size("ssm.inner_size")
    if values != width * heads or heads % key_heads:
        raise DamagedDataError(
            f"{meta.name} has {heads} heads of {width} for {values} values, and {key_heads} for keys; convert the "
            "model again"
        )
    channels = 2 * width * key_heads + values
    rows = dict(zip(GATED_DELTA_NET, (channels, values, heads, heads)))
    return GatedDeltaNet(
        kind=DELTA_NET,
        hidden=hidden,
        linears={name: Linear(size, hidden, f"{name}.weight") for name, size in rows.items()}
        | {"ssm_out": Linear(hidden, values, "ssm_out.weight")},
        vectors={
            **norms(DELTA_NET, hidden, "attn_norm", ""),
            "kernel": Vector(channels, "ssm_conv1d.weight", taps=meta.size("ssm.conv_kernel")),
            "time_step_bias": Vector(heads, "ssm_dt.bias"),
            "decay": Vector(heads, "ssm_a"),
            "output_norm": Vector(width, "ssm_norm.weight"),
        },
        epsilon=epsilon(meta),
    )


QWEN35 = Family(
    "qwen35",
    (ATTENTION, DELTA_NET, FEED_FORWARD),
    layer,
    ModuleNames(("qwen3_5_text",)),
    draft_layers=lambda meta: meta.get("nextn_predict_layers", 0),
    models="Qwen 3.5",
)
