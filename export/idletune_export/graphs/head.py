"""The head's graphs: final norm, logits and cross-entropy, one vocabulary chunk at a time.

An online softmax (Milakov & Gimelshein 2018, arXiv 1805.02867) carries three sums from chunk to chunk, rescaled when
the highest logit changes: the highest logit so far; `total`, the sum of exp(logit - highest); for gradients
`weighted_sum`, the embeddings weighted by these exponentials. So neither the output matrix nor the logits of the whole
vocabulary are ever in memory, and no logit is computed twice. With `soft_cap`, logits are capped as
soft_cap * tanh(logit / soft_cap).
"""

import numpy as np
import spox.opset.ai.onnx.v20 as op
from spox import Tensor, Var, argument

from .int8 import capped, int8_weighted_sum
from .primitives import rms_norm
from .shapes import integers, transposed
from .tape import Tape, Value

Graph = tuple[dict[str, Var], dict[str, Var]]
PER_TOKEN, PER_VALUE = ("n", 1), ("n", "hidden")
FLOATS: dict[str, tuple] = {
    "x": PER_VALUE,
    "h": PER_VALUE,
    "norm": ("hidden",),
    "epsilon": (),
    "soft_cap": (),
    "embedding": ("V", "hidden"),
    "target_embedding": PER_VALUE,
    "highest": PER_TOKEN,
    "total": PER_TOKEN,
    "weighted_sum": PER_VALUE,
    "scale": PER_TOKEN,
    "forward_scales": ("V",),
    "backward_scales": ("hidden",),
    "mean_logits": ("V",),
    "dither": ("n", "V"),
}


def head_graphs(soft_capped: bool) -> dict[str, Graph]:
    """Inputs and outputs by the graph's name."""
    inputs = {name: argument(Tensor(np.float32, shape)) for name, shape in FLOATS.items()}
    inputs |= {
        "quantized": argument(Tensor(np.uint8, PER_VALUE)),
        "forward_weight": argument(Tensor(np.int8, ("hidden", "V"))),
        "backward_weight": argument(Tensor(np.int8, ("V", "hidden"))),
    }
    soft_cap = inputs["soft_cap"] if soft_capped else None
    made = {
        "total": total(inputs, soft_cap),
        "weighted_sum": weighted_sum(inputs, soft_cap),
        "weighted_sum_int8": int8_weighted_sum(inputs, soft_cap),
        "loss": loss(inputs, soft_cap),
    }
    made |= {} if soft_capped else {"norm": {"h": _norm(Tape(), inputs).var}}
    return {f"{name}{'_soft_cap' if soft_capped else ''}": (inputs, outputs) for name, outputs in made.items()}


def total(inputs: dict[str, Var], soft_cap: Var | None) -> dict[str, Var]:
    """highest and total with one more chunk, for the loss alone."""
    logits, _ = capped(op.matmul(inputs["h"], transposed(inputs["embedding"])), soft_cap)
    new = op.max([inputs["highest"], op.reduce_max(logits, integers(-1))])
    chunk = op.reduce_sum(op.exp(op.sub(logits, new)), integers(-1))
    rescaled = op.mul(inputs["total"], op.exp(op.sub(inputs["highest"], new)))
    return {"new_highest": new, "new_total": op.add(rescaled, chunk)}


def weighted_sum(inputs: dict[str, Var], soft_cap: Var | None) -> dict[str, Var]:
    """All three sums with one more chunk, for the gradient."""
    logits, slope = capped(op.matmul(inputs["h"], transposed(inputs["embedding"])), soft_cap)
    new = op.max([inputs["highest"], op.reduce_max(logits, integers(-1))])
    weights, rescale = op.exp(op.sub(logits, new)), op.exp(op.sub(inputs["highest"], new))
    sloped = weights if slope is None else op.mul(weights, slope)
    return {
        "new_highest": new,
        "new_total": op.add(op.mul(inputs["total"], rescale), op.reduce_sum(weights, integers(-1))),
        "new_weighted_sum": op.add(op.mul(inputs["weighted_sum"], rescale), op.matmul(sloped, inputs["embedding"])),
    }


def loss(inputs: dict[str, Var], soft_cap: Var | None) -> dict[str, Var]:
    """loss (n,) in nats, and dx (n, hidden) of the summed loss; target_embedding are the labels' embeddings."""
    tape, target = Tape(), inputs["target_embedding"]
    h = _norm(tape, inputs)
    logit, slope = capped(op.reduce_sum(op.mul(h.var, target), integers(-1)), soft_cap)
    every = op.add(op.log(inputs["total"]), inputs["highest"])
    d_target = target if slope is None else op.mul(target, slope)
    d_h = op.sub(op.div(inputs["weighted_sum"], inputs["total"]), d_target)
    ((_, d_x),) = tape.gradients(h, d_h).items()
    return {"loss": op.squeeze(op.sub(every, logit), integers(-1)), "dx": d_x}


def _norm(tape: Tape, inputs: dict[str, Var]) -> Value:
    return rms_norm(tape, Value(inputs["x"]), inputs["norm"], inputs["epsilon"])
