"""int8 products, and the small graphs around them: quantization of tokens, the head's, and a probe.

- A frozen weight W (rows, columns) enters as int8 values and float32 scales, one scale for each column of the product's
  result: forward, x W^T, NAME.forward_weight lies as (columns, rows); backward, dy W, NAME.backward_weight as
  (rows, columns). Two copies, because MatMulInteger takes no transposed operand.
- Activations are quantized in the graph, with one scale per token, as in LLM.int8() (Dettmers et al. 2022, arXiv
  2208.07339) without its outlier columns: uint8 around 128, because MatMulInteger has its fast kernels for uint8 by
  int8.
- Everything else stays float32. Standard operators only; ONNX Runtime fuses product, cast and column scales.
"""

import numpy as np
import spox.opset.ai.onnx.v20 as op
from spox import Tensor, Var, argument

from .shapes import REST, integers, number, reshape, size

ZERO = 128  # of an activation's uint8 values
WEIGHT_LEVELS = 254  # of a softmax weight between 0 and 1, as uint8 from 0; one is left for rounding


class IntegerProducts:
    """Products with frozen weights, in int8 for `int8_linears`, else as `float_products` has them.

    ONNX Runtime divides a product among threads by columns, which is slow where the result is narrow: 1.3 times the
    time in a training step, 1.6 times alone (measured on two cores with AVX512-VNNI). With a batch axis it divides by
    batches instead. So a product whose result is no wider than x is made in token_batches int64 (1,) batches of
    tokens, which must divide their number. Weights have two leading axes of 1, because a product by a matrix of two
    axes is no batch to ONNX Runtime.
    """

    def __init__(self, inputs: dict[str, Var], int8_linears: tuple[str, ...], float_products):
        self._inputs, self._int8_linears, self._float = inputs, int8_linears, float_products
        self._quantized: list[tuple[Var, Var, Var]] = []  # several products of one x quantize it once

    def forward(self, x: Var, name: str) -> Var:
        return self._product(x, name, "forward") if name in self._int8_linears else self._float.forward(x, name)

    def backward(self, gradient: Var, name: str) -> Var:
        if name not in self._int8_linears:
            return self._float.backward(gradient, name)
        return self._product(gradient, name, "backward")

    def _product(self, x: Var, name: str, side: str) -> Var:
        weight, scales = (self._inputs[f"{name}.{side}_{part}"] for part in ("weight", "scales"))
        quantized, scale = self._quantize(x)
        batches = op.where(
            op.less_or_equal(size(weight, 3), size(weight, 2)), self._inputs["token_batches"], integers(1)
        )
        batched = reshape(quantized, batches, REST, size(weight, 2))
        by_column = _by_column(batched, weight, ZERO, number(1), scales)
        return op.mul(reshape(by_column, REST, size(scales, 0)), scale)

    def _quantize(self, x: Var) -> tuple[Var, Var]:
        for known, quantized, scale in self._quantized:
            if known is x:
                return quantized, scale
        quantized, scale = quantize_tokens(x)
        self._quantized.append((x, quantized, scale))
        return quantized, scale


def quantize_tokens(x: Var) -> tuple[Var, Var]:
    """x float32 (T, n) as uint8 values (T, n) and a scale (T, 1): x = (values - 128) * scale."""
    last = integers(-1)
    depth = op.neg(op.reduce_min(x, last))
    # A token whose gradient is all zeros must not divide 0 by 0.
    scale = op.mul(op.max([op.reduce_max(x, last), depth, number(1e-30)]), number(1 / 127))
    return op.quantize_linear(op.div(x, scale), number(1), op.const(np.uint8(ZERO))), scale


def int8_weighted_sum(inputs: dict[str, Var], soft_cap: Var | None = None) -> dict[str, Var]:
    """One vocabulary chunk in the head, as head.weighted_sum, by output name.

    The input mean_logits (V,) are the logits of the mean hidden state, which was subtracted before quantization;
    dither (n, V) is added to the softmax weights before they are rounded (why: idletune.training.int8_head). The
    weights are relative to the chunk's own highest logit, so that they fill the range of uint8.
    """
    i, last = inputs, integers(-1)
    by_column = _by_column(i["quantized"], i["forward_weight"], ZERO, number(1), i["forward_scales"])
    logits, slope = capped(op.add(op.mul(by_column, i["scale"]), i["mean_logits"]), soft_cap)
    top = op.reduce_max(logits, last)
    new, softmax_weights = op.max([i["highest"], top]), op.exp(op.sub(logits, top))
    rescale, share = op.exp(op.sub(i["highest"], new)), op.exp(op.sub(top, new))
    sloped = softmax_weights if slope is None else op.mul(softmax_weights, slope)
    steps = op.add(op.mul(sloped, number(WEIGHT_LEVELS)), i["dither"])
    counts = op.quantize_linear(steps, number(1), op.const(np.uint8(0)))
    weighted = _by_column(counts, i["backward_weight"], 0, number(1 / WEIGHT_LEVELS), i["backward_scales"])
    return {
        "new_highest": new,
        "new_total": op.add(op.mul(i["total"], rescale), op.mul(op.reduce_sum(softmax_weights, last), share)),
        "new_weighted_sum": op.add(op.mul(i["weighted_sum"], rescale), op.mul(weighted, share)),
    }


def capped(logits: Var, soft_cap: Var | None) -> tuple[Var, Var | None]:
    """soft_cap * tanh(logits / soft_cap) and its derivative; without a cap the logits alone."""
    if soft_cap is None:
        return logits, None
    t = op.tanh(op.div(logits, soft_cap))
    return op.mul(t, soft_cap), op.sub(number(1), op.mul(t, t))


def _by_column(values: Var, weight: Var, zero: int, step: Var, scales: Var) -> Var:
    """(values - zero) W times `step` and each column's scale.

    ONNX Runtime fuses product, cast and scales only where the scales are themselves a product: hence `step`.
    """
    sums = op.matmul_integer(values, weight, op.const(np.uint8(zero)))
    return op.mul(op.cast(sums, to=np.float32), op.mul(step, scales))


def small_graphs() -> dict[str, tuple[dict[str, Var], dict[str, Var]]]:
    """Inputs and outputs by the graph's name; `product` is the probe of training.int8.int8_is_fast."""
    x = argument(Tensor(np.float32, ("n", "columns")))
    quantized, scale = quantize_tokens(x)
    a, b = argument(Tensor(np.uint8, ("n", "rows"))), argument(Tensor(np.int8, ("rows", "columns")))
    return {
        "quantize_tokens": ({"x": x}, {"quantized": quantized, "scale": scale}),
        "product": ({"x": a, "w": b}, {"sums": op.matmul_integer(a, b, op.const(np.uint8(ZERO)))}),
    }
