"""Four-bit blocks: the layout is onnxruntime's, the error smaller than its own."""

import numpy as np
import onnx
import pytest
from idletune.onnx_runtime.session import open_session
from idletune_export.int4 import ImportanceQuantizer, quantize_blocks
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

ROWS, COLUMNS = 12, 96


@pytest.fixture
def weights():
    return np.random.default_rng(0).standard_t(4, (ROWS, COLUMNS)).astype(np.float32)


@pytest.fixture
def importance():
    return np.random.default_rng(1).gamma(0.3, 1.0, COLUMNS).astype(np.float32)


def quantized(weights, importance=None):
    """What onnxruntime computes with the weights, as a matrix (rows, columns)."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", ROWS])],
        [numpy_helper.from_array(np.ascontiguousarray(weights.T), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    quantizer = MatMulNBitsQuantizer(model, bits=4, block_size=32, is_symmetric=False)
    if importance is not None:
        quantizer.node_quantizer = ImportanceQuantizer(quantizer.algo_config, {"product": importance})
    quantizer.process()
    assert [node.op_type for node in quantizer.model.model.graph.node] == ["MatMulNBits"]
    session = open_session(quantizer.model.model.SerializeToString())
    onnx.checker.check_model(model)
    return session.run(None, {"x": np.eye(COLUMNS, dtype=np.float32)})[0].T


def test_onnxruntime_reads_back_what_was_chosen(weights, importance):
    codes, scales, zeros = quantize_blocks(weights, importance)
    ours = ((codes.astype(np.float32) - zeros[..., None]) * scales[..., None]).reshape(ROWS, COLUMNS)
    np.testing.assert_allclose(quantized(weights, importance), ours, atol=1e-5)
    assert codes.max() <= 15 and zeros.max() <= 15


def test_the_weighted_error_is_smaller_than_onnxruntimes_own(weights, importance):
    ours, theirs = (importance * (quantized(weights, i) - weights) ** 2 for i in (importance, None))
    assert ours.sum() < 0.7 * theirs.sum()


def test_blocks_of_zeros_and_of_one_sign(importance):
    weights = np.zeros((2, COLUMNS), np.float32)
    weights[1] = 3 + np.arange(COLUMNS) / COLUMNS
    found = quantized(weights, importance)
    assert (found[0] == 0).all() and np.abs(found[1] - weights[1]).max() < 0.3
