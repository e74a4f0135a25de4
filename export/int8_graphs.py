"""Graphs for products on int8: block graphs made from the float32 ones, the head's, quantizing, and a probe.

A frozen weight W (rows, columns) enters as codes int8 and scales float32, with a scale for each column of the
product's result: forward, x W^T, `NAME.forward_codes` lie as (columns, rows); backward, dy W, `NAME.backward_codes`
as (rows, columns). What meets it is quantized on the spot, with a scale for each token: uint8 around 128, for which
MatMulInteger has fast kernels. Everything else stays float32. Per-token activations: LLM.int8() (Dettmers et al.
2022, arXiv 2208.07339), without its outlier columns. Only standard operators; ONNX Runtime makes one operator of
product, cast and column scales.
"""

from pathlib import Path

import numpy as np
import onnx
import spox.opset.ai.onnx.v20 as op
from idletune.training.int8 import product_shape
from onnx import TensorProto, helper, numpy_helper
from spox import Tensor, argument, build

CONSTANTS = {
    "int8.zero": np.array(128, np.uint8), "int8.one": np.array(1, np.float32), "int8.last_axis": np.array([-1]),
    "int8.step": np.array(1 / 127, np.float32), "int8.tiny": np.array(1e-30, np.float32),
}
ODDS_STEPS = 254  # of odds between 0 and 1, as uint8 from 0; one is left for rounding


def with_int8_products(model: onnx.ModelProto, weights: dict[str, tuple[int, int]]) -> onnx.ModelProto:
    """A copy of a block graph in which MatMul by any of `weights` (name: shape) is int8: forward where the weight
    is transposed, backward where it is as it is. Its input `batches` int64 (1,) divides the number of tokens."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph, products = made.graph, Products(weights)
    transposed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights}
    for node in graph.node:
        weight = transposed.get(node.input[1], node.input[1]) if node.op_type == "MatMul" else None
        if weight in weights:
            side = "forward" if node.input[1] in transposed else "backward"
            products.add(node.input[0], weight, side, node.output[0])
        elif node.output[0] not in transposed:
            products.nodes.append(node)
    inputs = [value for value in graph.input if value.name not in weights] + products.inputs()
    for field, values in ((graph.node, products.nodes), (graph.input, inputs)):
        del field[:]
        field.extend(values)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in CONSTANTS.items())
    graph.initializer.extend(products.shapes)
    onnx.checker.check_model(made)
    return made


class Products:
    """The nodes of a graph that is being made, products among them; what they take in common is there once."""

    def __init__(self, weights: dict[str, tuple[int, int]]):
        self.weights, self.nodes, self.shapes = weights, [], []
        self._codes: dict[str, tuple[int, int]] = {}  # of weights, by input name
        self._made: set[str] = set()

    def add(self, x: str, weight: str, side: str, out: str) -> None:
        """out = x W. A narrow result is multiplied in batches of tokens (see int8.product_shape)."""
        shape = self.weights[weight][::-1] if side == "forward" else self.weights[weight]
        self._codes[f"{weight}.{side}"] = shape
        self._once(f"{x}.codes", lambda: self.nodes.extend(_quantize(x)))
        in_batches = len(product_shape(*shape)) > len(shape)
        codes = self._batched(x, shape[0]) if in_batches else f"{x}.codes"
        sums, floats, scales, by_column, flat = (
            f"{out}.{part}" for part in ("sums", "floats", "scales", "by_column", "flat")
        )
        self.nodes += [
            helper.make_node("MatMulInteger", [codes, f"{weight}.{side}_codes", "int8.zero"], [sums]),
            helper.make_node("Cast", [sums], [floats], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["int8.one", f"{weight}.{side}_scales"], [scales]),  # the form that is fused
            helper.make_node("Mul", [floats, scales], [by_column]),
        ]
        if in_batches:
            shape_name = self._shape([-1, shape[1]])
            self.nodes.append(helper.make_node("Reshape", [by_column, shape_name], [flat]))
        self.nodes.append(helper.make_node("Mul", [flat if in_batches else by_column, f"{x}.scale"], [out]))

    def inputs(self) -> list:
        """`batches`, and the codes and scales of each weight."""
        made = [helper.make_tensor_value_info("batches", TensorProto.INT64, [1])]
        for name, shape in self._codes.items():
            made.append(helper.make_tensor_value_info(f"{name}_codes", TensorProto.INT8, product_shape(*shape)))
            made.append(helper.make_tensor_value_info(f"{name}_scales", TensorProto.FLOAT, shape[1:]))
        return made

    def _batched(self, x: str, width: int) -> str:
        rest, into = self._shape([-1, width]), f"int8.batches_of_{width}"
        join = helper.make_node("Concat", ["batches", rest], [into], axis=0)
        divide = helper.make_node("Reshape", [f"{x}.codes", into], [f"{x}.batches"])
        self._once(into, lambda: self.nodes.append(join))
        self._once(f"{x}.batches", lambda: self.nodes.append(divide))
        return f"{x}.batches"

    def _shape(self, values: list[int]) -> str:
        name = "int8.shape_" + "_".join(map(str, values))
        tensor = numpy_helper.from_array(np.array(values, np.int64), name)
        self._once(name, lambda: self.shapes.append(tensor))
        return name

    def _once(self, name: str, make) -> None:
        if name not in self._made:
            self._made.add(name)
            make()


def _quantize(x: str) -> list:
    """x (T, n) as x.codes uint8 (T, n) and x.scale (T, 1): x = (codes - 128) * scale."""
    parts = "highest", "lowest", "depth", "largest", "scale", "steps", "codes"
    highest, lowest, depth, largest, scale, steps, codes = (f"{x}.{part}" for part in parts)
    return [
        helper.make_node("ReduceMax", [x, "int8.last_axis"], [highest], keepdims=1),
        helper.make_node("ReduceMin", [x, "int8.last_axis"], [lowest], keepdims=1),
        helper.make_node("Neg", [lowest], [depth]),
        helper.make_node("Max", [highest, depth, "int8.tiny"], [largest]),  # a token without a gradient is all zero
        helper.make_node("Mul", [largest, "int8.step"], [scale]),
        helper.make_node("Div", [x, scale], [steps]),
        helper.make_node("QuantizeLinear", [steps, "int8.one", "int8.zero"], [codes]),
    ]


def quantize_weights(weights):
    """A weight (rows, columns) as codes and scales for both sides, by output name."""
    one, zero = constant(1, np.float32), constant(0, np.int8)
    tiny, step = (op.const(CONSTANTS[f"int8.{name}"]) for name in ("tiny", "step"))
    magnitude, outputs = op.abs(weights), {}
    for side, axis in (("forward", 1), ("backward", 0)):  # of the product's columns, over which a scale reaches
        axes = op.const(np.array([axis]))
        scales = op.mul(op.max([op.reduce_max(magnitude, axes), tiny]), step)
        codes = op.quantize_linear(op.div(weights, scales), one, zero)
        outputs[f"{side}_codes"] = op.transpose(codes, perm=[1, 0]) if side == "forward" else codes
        outputs[f"{side}_scales"] = op.squeeze(scales, axes)
    return outputs


def quantize_tokens() -> onnx.ModelProto:
    """`_quantize` as a graph of its own: values x float32 (n, hidden)."""
    free = ["n", "C"]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)]
    outputs = [
        helper.make_tensor_value_info("x.codes", TensorProto.UINT8, free),
        helper.make_tensor_value_info("x.scale", TensorProto.FLOAT, ["n", 1]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()]
    graph = helper.make_graph(_quantize("x"), "quantize_tokens", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def gather(
    codes, scale, forward_codes, forward_scales, backward_codes, backward_scales, central, dither, highest, total,
    gathered,
):
    """A part of the vocabulary in the head, as training_graphs.Head.gather, by output name.

    `central` (V,) are the logits of what was taken from the values before they were quantized, `dither` (n, V) the
    shares of a step that are added to odds before they are rounded. Odds are taken from the part's own highest logit,
    so that they fill the range of uint8.
    """
    one, last = op.const(CONSTANTS["int8.one"]), op.const(CONSTANTS["int8.last_axis"])
    by_column = _by_column(codes, forward_codes, CONSTANTS["int8.zero"], one, forward_scales)
    logits = op.add(op.mul(by_column, scale), central)
    top = op.reduce_max(logits, last)
    new, odds = op.max([highest, top]), op.exp(op.sub(logits, top))
    fade, share = op.exp(op.sub(highest, new)), op.exp(op.sub(top, new))
    steps = op.add(op.mul(odds, constant(ODDS_STEPS, np.float32)), dither)
    counts = op.quantize_linear(steps, one, constant(0, np.uint8))
    step = constant(1 / ODDS_STEPS, np.float32)
    weighed = _by_column(counts, backward_codes, np.array(0, np.uint8), step, backward_scales)
    return {
        "new_highest": new, "new_total": op.add(op.mul(total, fade), op.mul(op.reduce_sum(odds, last), share)),
        "new_gathered": op.add(op.mul(gathered, fade), op.mul(weighed, share)),
    }


def _by_column(codes, weight_codes, zero: np.ndarray, step, scales):
    """(codes - zero) W times `step` and each column's scale, in the form ONNX Runtime fuses."""
    sums = op.matmul_integer(codes, weight_codes, op.const(zero))
    return op.mul(op.cast(sums, to=np.float32), op.mul(step, scales))


def constant(value, kind):
    return op.const(np.array(value, kind))


def export_int8_graphs(folder: Path) -> None:
    """Write quantize_weights.onnx, quantize_tokens.onnx, gather.onnx (see the functions of these names) and
    product.onnx, with which a processor is probed."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = argument(Tensor(np.float32, ("R", "C")))
    onnx.save(build({"weights": weights}, quantize_weights(weights)), folder / "quantize_weights.onnx")
    onnx.save(quantize_tokens(), folder / "quantize_tokens.onnx")
    per_token, per_value = Tensor(np.float32, ("n", 1)), Tensor(np.float32, ("n", "C"))
    types = {
        "codes": Tensor(np.uint8, ("n", "C")), "scale": per_token,
        "forward_codes": Tensor(np.int8, ("C", "V")), "forward_scales": Tensor(np.float32, ("V",)),
        "backward_codes": Tensor(np.int8, ("V", "C")), "backward_scales": Tensor(np.float32, ("C",)),
        "central": Tensor(np.float32, ("V",)), "dither": Tensor(np.float32, ("n", "V")),
        "highest": per_token, "total": per_token, "gathered": per_value,
    }
    inputs = {name: argument(kind) for name, kind in types.items()}
    onnx.save(build(inputs, gather(**inputs)), folder / "gather.onnx")
    x, w = argument(Tensor(np.uint8, ("T", "R"))), argument(Tensor(np.int8, ("R", "C")))
    sums = op.matmul_integer(x, w, op.const(CONSTANTS["int8.zero"]))
    onnx.save(build({"x": x, "w": w}, {"sums": sums}), folder / "product.onnx")
