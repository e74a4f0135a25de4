"""The head's sums over the vocabulary with int8 matrix products, for gradients alone.

A plain int8 head costs 2% of the held-out loss: its rounding errors are the same for all tokens, so they add up in
the adapter's gradient. Two measures remove them:
- hidden states are quantized as their difference from a mean hidden state, whose logits are computed in float32:
  hidden states differ less from each other than from zero, so the int8 step is finer;
- softmax weights are dithered before they are rounded (Roberts 1962): many small weights are then right on average
  instead of all rounding to zero.
"""

from collections.abc import Callable, Iterator

import numpy as np

from ..onnx_runtime.graph import Graph
from .head import accumulate, head_graph, initial_accumulator
from .int8 import INT8_GRAPHS, SIDES, quantized_inputs
from .weights import OUTPUT_ROWS, Weights

Chunk = dict[str, np.ndarray]


class Int8Head:
    """The sums that Head needs for a gradient, from an int8 output matrix that is quantized once and kept.

    `stored` gives the quantized chunks in order, where they are kept in files and not in memory.
    `mean_hidden` float32 (hidden,) is the mean of the first hidden states it is given. A resumed run sets it, because
    the same bits need the same mean.
    """

    def __init__(self, weights: Weights, threads: int, stored: Callable[[], Iterator[Chunk]] | None = None):
        self.weights, self._stored = weights, stored
        self._quantize = Graph(INT8_GRAPHS / "quantize_tokens.onnx", threads)
        self._weighted_sum = Graph(head_graph(weights.shape, "weighted_sum_int8"), threads)
        self._soft_cap = np.array(weights.shape.logit_soft_cap, np.float32)
        self._dither = np.empty((0, OUTPUT_ROWS), np.float32)
        self._chunks: list[Chunk] = []
        self._mean_logits: list[np.ndarray] = []
        self._mean_hidden: np.ndarray | None = None

    @property
    def mean_hidden(self) -> np.ndarray | None:
        return self._mean_hidden

    @mean_hidden.setter
    def mean_hidden(self, mean_hidden: np.ndarray | None) -> None:
        self._mean_hidden, self._mean_logits = mean_hidden, []

    def sums(self, h: np.ndarray) -> dict[str, np.ndarray]:
        """The accumulated sums (see head.initial_accumulator) for hidden states float32 (n, hidden)."""
        if self.mean_hidden is None:
            self.mean_hidden = h.mean(axis=0)
        quantized, scale = np.empty(h.shape, np.uint8), np.empty((len(h), 1), np.float32)
        self._quantize.run({"x": h - self.mean_hidden}, {"quantized": quantized, "scale": scale})
        feeds = {"quantized": quantized, "scale": scale, "soft_cap": self._soft_cap}
        return accumulate(self._weighted_sum, feeds, self._dithered_chunks(len(h)), initial_accumulator(*h.shape))

    def _dithered_chunks(self, n: int) -> Iterator[Chunk]:
        """The vocabulary chunks, each with a dither for its softmax weights: a share of the rounding step, float32
        (n, tokens of the chunk)."""
        if len(self._dither) < n:
            self._dither = np.random.default_rng(0).random((n, OUTPUT_ROWS), np.float32) - np.float32(0.5)
        if not self._mean_logits:
            self._mean_logits = [chunk @ self.mean_hidden for chunk in self.weights.output_chunks()]
        for chunk, mean_logits in zip(self._stored() if self._stored else self._kept(), self._mean_logits):
            dither = np.ascontiguousarray(self._dither[:n, : len(mean_logits)])
            yield {**chunk, "mean_logits": mean_logits, "dither": dither}

    def _kept(self) -> Iterator[Chunk]:
        self._chunks = self._chunks or [quantized_chunk(chunk) for chunk in self.weights.output_chunks()]
        return iter(self._chunks)


def quantized_chunk(chunk: np.ndarray) -> Chunk:
    """A chunk of the output matrix, float32 (tokens, hidden), quantized for both products, by graph input name."""
    return {name: array for side in SIDES for name, array in quantized_inputs("", chunk, side).items()}
