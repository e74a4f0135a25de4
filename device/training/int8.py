"""Frozen weights as int8, for processors that multiply them several times as fast as float32.

Only training passes use them, in trained layers and in the head; whatever is measured, the gate's losses above all,
is float32.
The smallest products, of K and V, stay float32: they cost little, and their error is felt as much as a large one's.
"""

from functools import cache
from pathlib import Path

import numpy as np

from ..errors import UsageError
from .graph import Graph
from .graph_files import GraphFiles
from .weights import Weights

GRAPHS = Path(__file__).parent / "graphs" / "int8"
INT8_LINEARS = ("attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
PROCESSOR = Path("/proc/cpuinfo")


def product_shape(columns: int, width: int) -> tuple[int, ...]:
    """The shape in which codes (columns, width) enter a block: a result no wider than what meets the codes is
    multiplied in batches of tokens, a thread each, and ONNX Runtime takes codes for all of them with four axes.

    Left to itself it divides such a product by columns, and took 1.3 times as long for it in a step, 1.6 times alone.
    """
    return (1, 1, columns, width) if width <= columns else (columns, width)


class Quantizer:
    """Weights float32 (rows, columns) as codes and scales."""

    def __init__(self, threads: int):
        self._graph = Graph(GRAPHS / "quantize_weights.onnx", threads)

    def codes(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """forward_codes int8 (columns, rows), forward_scales float32 (rows,), backward_codes (rows, columns),
        backward_scales (columns,)."""
        rows, columns = weights.shape
        made = {
            "forward_codes": np.empty((columns, rows), np.int8), "forward_scales": np.empty(rows, np.float32),
            "backward_codes": np.empty((rows, columns), np.int8), "backward_scales": np.empty(columns, np.float32),
        }
        self._graph.run({"weights": weights}, made)
        return made


class Int8Weights:
    """The layers of `weights` with codes and scales in place of INT8_LINEARS; a layer is made once and kept."""

    def __init__(self, weights: Weights, threads: int):
        self._weights, self._quantizer = weights, Quantizer(threads)
        self._layers: dict[int, dict] = {}

    def layer(self, number: int) -> dict[str, np.ndarray]:
        """Weights of one block by graph input name: for INT8_LINEARS NAME.forward_codes and so on (see Quantizer);
        the others float32."""
        if number not in self._layers:
            self._layers[number] = self._make(self._weights.layer(number))
        return self._layers[number]

    def _make(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        made = {name: array.copy() for name, array in weights.items() if name not in INT8_LINEARS}
        for name in INT8_LINEARS:
            for part, array in self._quantizer.codes(weights[name]).items():
                made[f"{name}.{part}"] = array.reshape(product_shape(*array.shape)) if array.ndim == 2 else array
        return made


def on_int8(products: str, graphs: GraphFiles, threads: int) -> bool:
    """What the setting `products` comes to for these graphs on this processor; UsageError when it cannot be had."""
    if products == "int8" and not graphs.int8:
        raise UsageError(f"{graphs.folder} has no graphs for products on int8; export them again, or set products=auto")
    return products == "int8" or products == "auto" and graphs.int8 and int8_is_fast(threads)


@cache
def int8_is_fast(threads: int) -> bool:
    """Whether this processor has instructions for int8 products, and ONNX Runtime's come out exact on it.

    Without AVX-VNNI or AVX512-VNNI sums of two products are cut at 16 bits on x86-64; on Arm what is slow is told by
    the processor's list of features.
    """
    x, w = np.full((16, 256), 255, np.uint8), np.full((256, 64), 127, np.int8)
    sums = np.empty((16, 64), np.int32)
    Graph(GRAPHS / "product.onnx", threads).run({"x": x, "w": w}, {"sums": sums})
    return bool((sums == 256 * (255 - 128) * 127).all()) and _has_dot_products()


def _has_dot_products() -> bool:
    """False on an Arm processor that is known to lack them (Armv8.2's are called asimddp)."""
    if not PROCESSOR.is_file():
        return True
    features = [line for line in PROCESSOR.read_text(errors="replace").splitlines() if line.startswith("Features")]
    return not features or "asimddp" in features[0].split()
