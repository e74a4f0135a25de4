"""Primitives of the sublayers, each with its vector-Jacobian product.

Written for ONNX Runtime, which fuses few elementwise operators: each reads and writes a whole (tokens, width), so a
gradient is written in as few of them as there can be. No gradient is a scatter: all are gathers, sums and products.
"""

import math

import spox.opset.ai.onnx.v20 as op
from spox import Var

from .shapes import REST, SAME, integers, number, reshape, size, transposed
from .tape import Tape, Value


def rms_norm(tape: Tape, x: Value, weight: Var | None, epsilon: Var) -> Value:
    """x / sqrt(mean(x^2) + epsilon) * weight over the last axis; the frozen weight, if any, has no gradient."""

    def weighted(tensor: Var) -> Var:
        return tensor if weight is None else op.mul(tensor, weight)

    def inverse_rms() -> Var:
        mean_square = op.reduce_mean(op.mul(x.var, x.var), integers(-1))
        return op.reciprocal(op.sqrt(op.add(mean_square, epsilon)))

    def vjp(gradient: Var) -> list[Var]:
        inverse, d = inverse_rms(), weighted(gradient)
        projection = op.mul(op.reduce_mean(op.mul(d, x.var), integers(-1)), op.mul(inverse, inverse))
        return [op.mul(op.sub(d, op.mul(x.var, projection)), inverse)]

    return tape.record(weighted(op.mul(x.var, inverse_rms())), [x], vjp)


def add(tape: Tape, x: Value, y: Value) -> Value:
    return tape.record(op.add(x.var, y.var), [x, y], lambda gradient: [gradient, gradient])


def scaled(tape: Tape, x: Value, factor: Var) -> Value:
    return tape.record(op.mul(x.var, factor), [x], lambda gradient: [op.mul(gradient, factor)])


def heads(tape: Tape, x: Value, head_dim: Var) -> Value:
    """(T, heads * head_dim) as (T, heads, head_dim)."""
    return tape.record(reshape(x.var, SAME, REST, head_dim), [x], lambda gradient: [_flat(gradient)])


def flat(tape: Tape, x: Value, head_dim: Var) -> Value:
    """(T, heads, head_dim) as (T, heads * head_dim)."""
    return tape.record(_flat(x.var), [x], lambda gradient: [reshape(gradient, SAME, REST, head_dim)])


def _flat(tensor: Var) -> Var:
    return reshape(tensor, SAME, REST)


def rotary(tape: Tape, x: Value, cos: Var, sin: Var, rotate_half: Var) -> Value:
    """x (T, heads, head_dim) rotated by the tokens' positions: x cos + rotate_half(x) sin; cos, sin (T, 1, head_dim).

    rotate_half is antisymmetric, and sin the same for both values of a pair: the gradient is a rotation back.
    """

    def rotated(tensor: Var) -> Var:
        return op.mul(op.matmul(tensor, rotate_half), sin)

    def vjp(gradient: Var) -> list[Var]:
        return [op.sub(op.mul(gradient, cos), rotated(gradient))]

    return tape.record(op.add(op.mul(x.var, cos), rotated(x.var)), [x], vjp)


def gated(tape: Tape, gate: Value, up: Value, activation: str) -> Value:
    """activation(gate) * up."""
    result, derivative = {"silu": (_silu, _silu_and_derivative), "gelu": (_gelu, _gelu_and_derivative)}[activation]

    def vjp(gradient: Var) -> list[Var]:
        activated, slope = derivative(gate.var)
        return [op.mul(op.mul(gradient, up.var), slope), op.mul(gradient, activated)]

    return tape.record(op.mul(result(gate.var), up.var), [gate, up], vjp)


class Convolution:
    """A causal depthwise convolution: the sum over d = 0 .. D of kernel[:, d] times the token D - d places before.

    kernel (width, D + 1), the present token last. earlier_tokens (D, T, T) are matrices of zeros and ones that move the
    tokens there (see PackedSequence.earlier_tokens).
    """

    def __init__(self, kernel: Var, earlier_tokens: Var):
        taps = op.unsqueeze(transposed(kernel), integers(1))  # (D + 1, 1, width)
        self._earlier_tokens = earlier_tokens
        self._earlier = op.slice(taps, integers(0), integers(-1), integers(0))
        self._present = op.squeeze(op.slice(taps, integers(-1), size(taps, 0), integers(0)), integers(0))

    def forward(self, x: Var) -> Var:
        moved = op.mul(op.matmul(self._earlier_tokens, x), self._earlier)
        return op.add(op.mul(x, self._present), op.reduce_sum(moved, integers(0), keepdims=0))

    def backward(self, gradient: Var) -> Var:
        back = op.transpose(self._earlier_tokens, perm=[0, 2, 1])
        moved = op.matmul(back, op.mul(gradient, self._earlier))
        return op.add(op.mul(gradient, self._present), op.reduce_sum(moved, integers(0), keepdims=0))


def gated_convolution(tape: Tape, x: Value, convolution: Convolution) -> Value:
    """c * convolution(b * u) for x (T, 3 width), which holds b, c and u side by side."""
    width = op.div(size(x.var, 1), integers(3))

    def parts() -> list[Var]:
        bounds = [op.mul(width, integers(number)) for number in range(4)]
        return [op.slice(x.var, start, end, integers(1)) for start, end in zip(bounds, bounds[1:])]

    def vjp(gradient: Var) -> list[Var]:
        b, c, u = parts()
        d_c, d_gated = op.mul(gradient, convolution.forward(op.mul(b, u))), convolution.backward(op.mul(gradient, c))
        return [op.concat([op.mul(d_gated, u), d_c, op.mul(d_gated, b)], axis=1)]

    b, c, u = parts()
    return tape.record(op.mul(c, convolution.forward(op.mul(b, u))), [x], vjp)


def silu_convolution(tape: Tape, x: Value, convolution: Convolution) -> Value:
    """silu(convolution(x))."""

    def vjp(gradient: Var) -> list[Var]:
        return [convolution.backward(op.mul(gradient, _silu_and_derivative(convolution.forward(x.var))[1]))]

    return tape.record(_silu(convolution.forward(x.var)), [x], vjp)


def columns(tape: Tape, x: Value, start: Var, width: Var) -> Value:
    """x[..., start : start + width] of a tensor with two or three axes; start and width int64 (1,)."""
    end = op.add(start, width)

    def vjp(gradient: Var) -> list[Var]:
        behind = op.sub(size(x.var, -1), end)
        return [op.pad(gradient, op.concat([start, behind], axis=0), axes=integers(-1))]

    return tape.record(op.slice(x.var, start, end, integers(-1)), [x], vjp)


def heads_first(tape: Tape, x: Value) -> Value:
    """(T, heads, width) as (heads, T, width), and back."""
    return tape.record(_swapped(x.var), [x], lambda gradient: [_swapped(gradient)])


def _swapped(tensor: Var) -> Var:
    return op.transpose(tensor, perm=[1, 0, 2])


def repeated_heads(tape: Tape, x: Value, times: Var) -> Value:
    """(heads, T, width) as (times heads, T, width): all heads, then all of them again."""

    def vjp(gradient: Var) -> list[Var]:
        shape = op.concat([times, op.shape(x.var)], axis=0)
        return [op.reduce_sum(op.reshape(gradient, shape), integers(0), keepdims=0)]

    return tape.record(op.tile(x.var, op.concat([times, integers(1, 1)], axis=0)), [x], vjp)


def sigmoid(tape: Tape, x: Value) -> Value:
    def vjp(gradient: Var) -> list[Var]:
        s = op.sigmoid(x.var)
        return [op.mul(gradient, op.mul(s, op.sub(number(1), s)))]

    return tape.record(op.sigmoid(x.var), [x], vjp)


def product(tape: Tape, x: Value, y: Value) -> Value:
    return tape.record(
        op.mul(x.var, y.var), [x, y], lambda gradient: [op.mul(gradient, y.var), op.mul(gradient, x.var)]
    )


def softplus_scaled(tape: Tape, x: Value, bias: Var, factor: Var) -> Value:
    """factor * ln(1 + exp(x + bias))."""

    def vjp(gradient: Var) -> list[Var]:
        return [op.mul(op.mul(gradient, factor), op.sigmoid(op.add(x.var, bias)))]

    return tape.record(op.mul(op.softplus(op.add(x.var, bias)), factor), [x], vjp)


def _silu(x: Var) -> Var:
    return op.mul(x, op.sigmoid(x))


def _silu_and_derivative(x: Var) -> tuple[Var, Var]:
    s = op.sigmoid(x)
    y = op.mul(x, s)
    return y, op.sub(op.add(s, y), op.mul(y, s))


def _gelu(x: Var) -> Var:
    """By tanh, as Gemma and llama.cpp have it."""
    return op.gelu(x, approximate="tanh")


def _gelu_and_derivative(x: Var) -> tuple[Var, Var]:
    """With t = tanh(u), u = c (x + a x^3): y = x (1 + t) / 2, y' = (1 + t) / 2 * (1 + x (1 - t) u')."""
    a, c = 0.044715, math.sqrt(2 / math.pi)
    square = op.mul(x, x)
    t = op.tanh(op.mul(x, op.add(op.mul(square, number(a * c)), number(c))))
    half = op.add(op.mul(t, number(0.5)), number(0.5))
    slope_of_u = op.add(op.mul(square, number(3 * a * c)), number(c))
    inner = op.mul(op.mul(x, op.sub(number(1), t)), slope_of_u)
    return op.mul(x, half), op.mul(half, op.add(inner, number(1)))


class Linears:
    """The linear layers of one graph: frozen weight, bias, adapter; products of frozen weights in float32 or int8.

    `inputs` holds the graph's inputs by name. For a layer NAME: NAME.weight (rows, columns), or in int8 the quantized
    weight as it enters the product (see int8.IntegerProducts); NAME.bias; NAME.lora_a (rank, columns) and NAME.lora_b
    (rows, rank) with the common factor lora_scale.
    """

    def __init__(self, tape: Tape, inputs: dict[str, Var], products):
        self._tape, self._inputs, self._products = tape, inputs, products
        self.adapters: dict[str, Value] = {}  # by the name of the input

    def __call__(self, x: Value, name: str) -> Value:
        y = self._products.forward(x.var, name)
        if f"{name}.bias" in self._inputs:
            y = op.add(y, self._inputs[f"{name}.bias"])
        if f"{name}.lora_a" not in self._inputs:
            return self._tape.record(y, [x], lambda gradient: [self._products.backward(gradient, name)])
        return self._adapted(x, y, name)

    def _adapted(self, x: Value, y: Var, name: str) -> Value:
        """The factor is multiplied to the narrow (T, rank), not to the result. Gemm adds its third input in place."""
        a, b = (Value(self._inputs[f"{name}.lora_{side}"]) for side in "ab")
        self.adapters |= {f"{name}.lora_a": a, f"{name}.lora_b": b}
        scale = self._inputs["lora_scale"]

        def narrow() -> Var:
            return op.mul(op.gemm(x.var, a.var, transB=1), scale)

        def vjp(gradient: Var) -> list[Var]:
            d_narrow = op.mul(op.gemm(gradient, b.var), scale)
            d_x = op.gemm(d_narrow, a.var, self._products.backward(gradient, name))
            return [d_x, op.gemm(d_narrow, x.var, transA=1), op.gemm(gradient, narrow(), transA=1)]

        return self._tape.record(op.gemm(narrow(), b.var, y, transB=1), [x, a, b], vjp)


class FloatProducts:
    """Products with the frozen float32 weights NAME.weight (rows, columns)."""

    def __init__(self, inputs: dict[str, Var]):
        self._inputs = inputs

    def forward(self, x: Var, name: str) -> Var:
        return op.gemm(x, self._inputs[f"{name}.weight"], transB=1)

    def backward(self, gradient: Var, name: str) -> Var:
        return op.gemm(gradient, self._inputs[f"{name}.weight"])
