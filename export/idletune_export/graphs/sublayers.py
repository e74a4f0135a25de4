"""The sublayers, each described once: x + scale * post_norm(f(pre_norm(x))).

A description takes the tape, the input x and the graph's inputs by name, and returns the sublayer's output. What it
saves must be what the sublayer's `saved_widths` in idletune.formats.sublayers says.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import spox.opset.ai.onnx.v20 as op
from idletune.formats.sublayers import (
    AttentionKind,
    FeedForwardKind,
    GatedDeltaNetKind,
    Kind,
    PerLayerInputKind,
    ShortConvolutionKind,
)
from spox import Tensor, Var, argument

from . import primitives as p
from .attention import Segments, causal_attention
from .delta_rule import Visibility, delta_rule
from .primitives import Linears
from .shapes import integers, size
from .tape import Tape, Value

Inputs = dict[str, Var]
Body = Callable[[Tape, Value, Inputs, Linears, Any], Value]


def attention(tape: Tape, h: Value, inputs: Inputs, linear: Linears, kind: AttentionKind) -> Value:
    q = linear(h, "attn_q")
    head_dim = size(inputs["rotate_half"], 0)
    if kind.gated:
        both = p.heads(tape, q, op.add(head_dim, head_dim))
        q, gate = (p.flat(tape, p.columns(tape, both, start, head_dim), head_dim) for start in (integers(0), head_dim))
        gate = p.sigmoid(tape, tape.save("gate", gate))
    cos, sin = inputs["cos"], inputs["sin"]
    # The scale of the scores is multiplied to what is smaller than Q: cos and sin, or the weight of Q's last norm.
    q_cos, q_sin, q_norm = cos, sin, inputs.get("q_norm")
    if kind.qk_norm == "head_after_rope":
        q_norm = op.mul(inputs["q_norm"], inputs["attention_scale"])
    else:
        q_cos, q_sin = (op.mul(tensor, inputs["attention_scale"]) for tensor in (cos, sin))
    q = _positioned(tape, "q", q, (q_cos, q_sin), q_norm, inputs, kind, head_dim)
    k, v = _keys_and_values(tape, h, inputs, linear, kind, head_dim)
    soft_cap = inputs["attention_soft_cap"] if kind.soft_cap else None
    out = causal_attention(tape, q, k, v, _segments(inputs), head_dim, soft_cap)
    return linear(p.product(tape, out, gate) if kind.gated else out, "attn_output")


def _keys_and_values(
    tape: Tape, h: Value, inputs: Inputs, linear: Linears, kind: AttentionKind, head_dim: Var
) -> tuple[Value, Value]:
    """K and V as attention multiplies them. Borrowed ones are inputs, to which no gradient goes."""
    if kind.kv == "borrowed":
        return Value(inputs["keys"]), Value(inputs["values"])
    k, v = linear(h, "attn_k"), tape.save("v", linear(h, "attn_v"))
    k = _positioned(tape, "k", k, (inputs["cos"], inputs["sin"]), inputs.get("k_norm"), inputs, kind, head_dim)
    if kind.v_norm:
        v = p.flat(tape, p.rms_norm(tape, p.heads(tape, v, head_dim), None, inputs["epsilon"]), head_dim)
    if kind.kv == "lent":
        tape.lent = {"keys": k, "values": v}
    return k, v


def _positioned(
    tape: Tape,
    name: str,
    x: Value,
    cos_sin: tuple[Var, Var],
    norm: Var | None,
    inputs: Inputs,
    kind: AttentionKind,
    head_dim: Var,
) -> Value:
    """Q or K as attention multiplies them: normalized and rotated.

    Without a norm the rotated ones are saved: a rotation's gradient needs no input. A norm's does.
    """
    cos, sin = (op.unsqueeze(tensor, integers(1)) for tensor in cos_sin)
    if norm is not None:
        x = tape.save(name, x)
    if kind.qk_norm == "full_width":
        assert norm is not None
        x = p.rms_norm(tape, x, norm, inputs["epsilon"])
    x = p.heads(tape, x, head_dim)
    if kind.qk_norm == "head":
        assert norm is not None
        x = p.rms_norm(tape, x, norm, inputs["epsilon"])
    x = p.rotary(tape, x, cos, sin, inputs["rotate_half"])
    if kind.qk_norm == "head_after_rope":
        assert norm is not None
        x = p.rms_norm(tape, x, norm, inputs["epsilon"])
    x = p.flat(tape, x, head_dim)
    return x if norm is not None else tape.save(name, x)


def feed_forward(tape: Tape, h: Value, inputs: Inputs, linear: Linears, kind: FeedForwardKind) -> Value:
    gate, up = (tape.save(name.removeprefix("ffn_"), linear(h, name)) for name in ("ffn_gate", "ffn_up"))
    return linear(p.gated(tape, gate, up, kind.activation), "ffn_down")


def short_convolution(tape: Tape, h: Value, inputs: Inputs, linear: Linears, kind: ShortConvolutionKind) -> Value:
    into, out = kind.linears
    x = tape.save("in_proj", linear(h, into))
    return linear(p.gated_convolution(tape, x, _convolution(inputs)), out)


def gated_delta_net(tape: Tape, h: Value, inputs: Inputs, linear: Linears, kind: GatedDeltaNetKind) -> Value:
    """Q and K have fewer heads than V: each serves all heads whose number is the same in each round."""
    qkv, z, beta, alpha = (tape.save(name, linear(h, name)) for name in kind.linears[:4])
    mixed = p.silu_convolution(tape, qkv, _convolution(inputs))
    width, heads = size(inputs["output_norm"], 0), size(inputs["decay"], 0)
    values = op.mul(width, heads)
    keys = op.div(op.sub(size(mixed.var, 1), values), integers(2))
    share = op.cast(width, to=np.float32)

    def by_head(start: Var, columns: Var, factor: Var | None) -> Value:
        x = p.heads(tape, p.columns(tape, mixed, start, columns), width)
        if factor is not None:  # of length 1, by the norm that has the same form
            x = p.rms_norm(tape, x, factor, op.div(inputs["epsilon"], share))
        return p.heads_first(tape, x)

    def repeated(x: Value) -> Value:
        return p.repeated_heads(tape, x, op.div(values, keys))

    q = repeated(by_head(integers(0), keys, op.reciprocal(share)))  # and scaled by 1 / sqrt(width)
    k = repeated(by_head(keys, keys, op.reciprocal(op.sqrt(share))))
    v = by_head(op.add(keys, keys), values, None)
    log_decay = p.softplus_scaled(tape, alpha, inputs["time_step_bias"], inputs["decay"])
    beta, log_decay = (p.heads_first(tape, p.heads(tape, x, integers(1))) for x in (p.sigmoid(tape, beta), log_decay))
    visibility = Visibility(*(inputs[name] for name in ("visible_tokens", *_BLOCK_INTEGERS)))
    out = p.heads_first(tape, delta_rule(tape, q, k, v, beta, log_decay, visibility))
    out = p.flat(tape, p.rms_norm(tape, out, inputs["output_norm"], inputs["epsilon"]), width)
    return linear(p.gated(tape, z, out, "silu"), "ssm_out")


def _convolution(inputs: Inputs) -> p.Convolution:
    return p.Convolution(inputs["kernel"], inputs["earlier_tokens"])


def per_layer_input(tape: Tape, h: Value, inputs: Inputs, linear: Linears, kind: PerLayerInputKind) -> Value:
    gate = tape.save("gate", linear(h, "inp_gate"))
    return linear(p.gated(tape, gate, Value(inputs["layer_embedding"]), "gelu"), "proj")


BODIES: dict[type, Body] = {
    AttentionKind: attention,
    FeedForwardKind: feed_forward,
    ShortConvolutionKind: short_convolution,
    PerLayerInputKind: per_layer_input,
    GatedDeltaNetKind: gated_delta_net,
}


def sublayer(tape: Tape, x: Value, inputs: Inputs, linear: Linears, kind: Kind) -> Value:
    """The output of a sublayer of this kind."""
    h = x if kind.norms == "after" else p.rms_norm(tape, x, inputs["pre_norm"], inputs["epsilon"])
    y = BODIES[type(kind)](tape, h, inputs, linear, kind)
    if kind.norms != "before":
        y = p.rms_norm(tape, tape.save("sublayer_output", y), inputs["post_norm"], inputs["epsilon"])
    y = p.add(tape, x, p.scaled(tape, y, inputs["residual_scale"]) if kind.scaled_residual else y)
    return p.scaled(tape, y, inputs["output_scale"]) if "output_scale" in inputs else y


def arguments(kind: Kind, adapted: bool, int8: bool) -> Inputs:
    """The inputs that a graph of this kind may take; those that it does not use are dropped when it is built."""
    floats: dict[str, tuple] = {"x": ("T", "hidden"), "epsilon": (), "residual_scale": ()}
    floats |= {"pre_norm": ("hidden",), "post_norm": ("hidden",)}
    if isinstance(kind, AttentionKind):
        floats |= _ATTENTION_FLOATS
        floats |= {"q_norm": ("q_norm",), "k_norm": ("k_norm",)} if kind.qk_norm else {}
        floats |= {name: ("T", "kv") for name in ("keys", "values")} if kind.kv == "borrowed" else {}
    if isinstance(kind, PerLayerInputKind):
        floats |= {"layer_embedding": ("T", "inp_gate.rows"), "output_scale": (1,)}
    if isinstance(kind, (ShortConvolutionKind, GatedDeltaNetKind)):
        floats |= {"kernel": ("channels", "taps"), "earlier_tokens": ("earlier", "T", "T")}
    if isinstance(kind, GatedDeltaNetKind):
        floats |= {"time_step_bias": ("heads",), "decay": ("heads",), "output_norm": ("width",)}
        floats["visible_tokens"] = ("T", "T")
    floats |= {f"{name}.bias": (f"{name}.rows",) for name in getattr(kind, "biases", ())}
    if adapted:
        floats["lora_scale"] = ()
        for name in kind.linears:
            floats |= {f"{name}.lora_a": ("rank", f"{name}.columns"), f"{name}.lora_b": (f"{name}.rows", "rank")}
    made = {name: argument(Tensor(np.float32, shape)) for name, shape in floats.items()}
    integers_: dict[str, tuple] = _SEGMENT_INTEGERS if isinstance(kind, AttentionKind) else {}
    integers_ = _BLOCK_INTEGERS if isinstance(kind, GatedDeltaNetKind) else integers_
    made |= {name: argument(Tensor(np.int64, shape)) for name, shape in integers_.items()}
    for name in kind.linears:
        made |= _weight(name, int8 and name in kind.int8_linears)
    return made | ({"token_batches": argument(Tensor(np.int64, (1,)))} if int8 else {})


_ATTENTION_FLOATS: dict[str, tuple] = {
    "cos": ("T", "head_dim"),
    "sin": ("T", "head_dim"),
    "rotate_half": ("head_dim", "head_dim"),
    "attention_scale": ("S", 1),  # S = T or 1
    "attention_soft_cap": (),
    "attention_mask": ("B", "L", "K"),
}
_BLOCK_INTEGERS = {"first_blocks": (1,), "doublings": (1,)}
_SEGMENT_INTEGERS = {
    "query_tokens": ("B", "L"),
    "query_positions": ("T",),
    "key_tokens": ("B", "K"),
    "key_positions": ("T",),
    "prefix_columns": ("T",),
}


def _weight(name: str, int8: bool) -> Inputs:
    rows, columns = f"{name}.rows", f"{name}.columns"
    if not int8:
        return {f"{name}.weight": argument(Tensor(np.float32, (rows, columns)))}
    return {
        f"{name}.{side}_{part}": argument(Tensor(*of))
        for side, shape in (("forward", (columns, rows)), ("backward", (rows, columns)))
        for part, of in (("weight", (np.int8, (1, 1, *shape))), ("scales", (np.float32, shape[1:])))
    }


def _segments(inputs: Inputs) -> Segments:
    return Segments(**{name: inputs[name] for name in (*_SEGMENT_INTEGERS, "attention_mask")})
