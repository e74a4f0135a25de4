"""Graphs for products on int8: block graphs made from the float32 ones, quantizing weights, and a probe.

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
from onnx import TensorProto, helper, numpy_helper
from spox import Tensor, argument, build

CONSTANTS = {
    "int8.zero": np.array(128, np.uint8), "int8.one": np.array(1, np.float32), "int8.last_axis": np.array([-1]),
    "int8.step": np.array(1 / 127, np.float32), "int8.tiny": np.array(1e-30, np.float32),
}
SIDES = "forward", "backward"


def with_int8_products(model: onnx.ModelProto, weights: dict[str, tuple[int, int]], side: str) -> onnx.ModelProto:
    """A copy of a block graph in which MatMul by any of `weights` (name: shape), as it is or transposed, is int8."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    transposed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights}
    nodes, quantized = [], {}
    for node in graph.node:
        weight = transposed.get(node.input[1], node.input[1]) if node.op_type == "MatMul" else None
        if weight in weights:
            nodes += _product(node.input[0], f"{weight}.{side}", node.output[0], quantized)
        elif node.output[0] not in transposed:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in CONSTANTS.items())
    _replace_inputs(graph, weights, side)
    onnx.checker.check_model(made)
    return made


def _product(x: str, weight: str, out: str, quantized: dict[str, str]) -> list:
    """x W; x is quantized once for all the weights it meets."""
    nodes = [] if x in quantized else _quantize(x)
    quantized[x] = f"{x}.codes"
    sums, floats, scales, by_column = (f"{out}.{part}" for part in ("sums", "floats", "scales", "by_column"))
    return [
        *nodes,
        helper.make_node("MatMulInteger", [quantized[x], f"{weight}_codes", "int8.zero"], [sums]),
        helper.make_node("Cast", [sums], [floats], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["int8.one", f"{weight}_scales"], [scales]),  # the form ONNX Runtime fuses
        helper.make_node("Mul", [floats, scales], [by_column]),
        helper.make_node("Mul", [by_column, f"{x}.scale"], [out]),
    ]


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


def _replace_inputs(graph, weights: dict[str, tuple[int, int]], side: str) -> None:
    inputs = []
    for value in graph.input:
        if value.name not in weights:
            inputs.append(value)
            continue
        shape = weights[value.name][::-1] if side == "forward" else weights[value.name]
        for name, kind, size in (("codes", TensorProto.INT8, shape), ("scales", TensorProto.FLOAT, shape[1:])):
            inputs.append(helper.make_tensor_value_info(f"{value.name}.{side}_{name}", kind, size))
    del graph.input[:]
    graph.input.extend(inputs)


def quantize_weights(weights):
    """A weight (rows, columns) as codes and scales for both sides, by output name."""
    tiny, step, zero = (op.const(np.array(v)) for v in (np.float32(1e-30), np.float32(1 / 127), np.int8(0)))
    one, magnitude, outputs = op.const(np.float32(1)), op.abs(weights), {}
    for side, axis in zip(SIDES, (1, 0)):  # of the product's columns, over which a scale reaches
        axes = op.const(np.array([axis]))
        scales = op.mul(op.max([op.reduce_max(magnitude, axes), tiny]), step)
        codes = op.quantize_linear(op.div(weights, scales), one, zero)
        outputs[f"{side}_codes"] = op.transpose(codes, perm=[1, 0]) if side == "forward" else codes
        outputs[f"{side}_scales"] = op.squeeze(scales, axes)
    return outputs


def export_int8_graphs(folder: Path) -> None:
    """Write quantize.onnx (see `quantize_weights`) and product.onnx, with which a processor is probed."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = argument(Tensor(np.float32, ("R", "C")))
    onnx.save(build({"weights": weights}, quantize_weights(weights)), folder / "quantize.onnx")
    x, w = argument(Tensor(np.uint8, ("T", "R"))), argument(Tensor(np.int8, ("R", "C")))
    sums = op.matmul_integer(x, w, op.const(CONSTANTS["int8.zero"]))
    onnx.save(build({"x": x, "w": w}, {"sums": sums}), folder / "product.onnx")
