"""The language-model head on labelled positions: final norm, logits and cross-entropy, one vocabulary chunk at a time.

The logits of a whole vocabulary never exist at once: 256 positions of a 150,000-token vocabulary are 150 MB. An online
softmax (Milakov & Gimelshein 2018, arXiv 1805.02867) carries three sums from chunk to chunk instead.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..formats.model_shape import ModelShape
from ..onnx_runtime.graph import Graph
from .graph_files import GRAPHS
from .weights import Weights

LOWEST = np.float32(-1e30)  # below every logit, and finite: exp(LOWEST - logit) is 0 and never NaN


class Head:
    """Loss and gradient of hidden states (n, hidden) that leave the last layer.

    Per position it accumulates the highest logit, the sum of exponentials and, for gradients, the embeddings weighted
    by these exponentials. With an `int8` head the sums for gradients come from it; losses are always float32.
    """

    def __init__(self, weights: Weights, threads: int, int8=None):
        self.weights, self._int8 = weights, int8
        self._norm = Graph(GRAPHS / "head" / "norm.onnx", threads)
        self._total, self._weighted_sum, self._loss = (
            Graph(head_graph(weights.shape, name), threads) for name in ("total", "weighted_sum", "loss")
        )
        self._last_norm = {"norm": weights.output_norm, "epsilon": np.array(weights.shape.epsilon, np.float32)}
        self._soft_cap = {"soft_cap": np.array(weights.shape.logit_soft_cap, np.float32)}

    def losses(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cross-entropy in nats, float32 (n,); x float32 (n, hidden), labels (n,)."""
        sums = initial_accumulator(*x.shape)
        unused = sums.pop("weighted_sum")  # the loss graph takes it as an input, also where no gradient is wanted
        feeds = {"h": self._normed(x), **self._soft_cap}
        sums = accumulate(self._total, feeds, self._vocabulary_chunks(), sums)
        return self._finish(x, labels, {**sums, "weighted_sum": unused}, np.empty_like(x))

    def gradient(self, x: np.ndarray, labels: np.ndarray, dx: np.ndarray) -> np.ndarray:
        """The losses, float32 (n,); fills dx (n, hidden) with the gradient of each by its own hidden state."""
        h = self._normed(x)
        if self._int8:
            sums = self._int8.sums(h)
        else:
            feeds = {"h": h, **self._soft_cap}
            sums = accumulate(self._weighted_sum, feeds, self._vocabulary_chunks(), initial_accumulator(*h.shape))
        return self._finish(x, labels, sums, dx)

    def _normed(self, x: np.ndarray) -> np.ndarray:
        h = np.empty_like(x)
        self._norm.run({"x": x, **self._last_norm}, {"h": h})
        return h

    def _vocabulary_chunks(self) -> Iterator[dict[str, np.ndarray]]:
        return ({"embedding": chunk} for chunk in self.weights.output_chunks())

    def _finish(self, x, labels, sums: dict, dx: np.ndarray) -> np.ndarray:
        loss, target = np.empty(len(x), np.float32), self.weights.output_rows(labels)
        feeds = {"x": x, **self._last_norm, **self._soft_cap, "target_embedding": target, **sums}
        self._loss.run(feeds, {"loss": loss, "dx": dx})
        return loss


def head_graph(shape: ModelShape, name: str) -> Path:
    """The file of one of the head's graphs, for a model with soft-capped logits or without."""
    return GRAPHS / "head" / f"{name}{'_soft_cap' if shape.logit_soft_cap else ''}.onnx"


def initial_accumulator(n: int, hidden: int) -> dict[str, np.ndarray]:
    """The online softmax before the first chunk, by graph input name.

    highest (n, 1): the highest logit so far; total (n, 1): the sum of exp(logit - highest); weighted_sum (n, hidden):
    the embeddings weighted by these exponentials.
    """
    return {
        "highest": np.full((n, 1), LOWEST),
        "total": np.zeros((n, 1), np.float32),
        "weighted_sum": np.zeros((n, hidden), np.float32),
    }


def accumulate(graph: Graph, feeds: dict, chunks: Iterator[dict], sums: dict) -> dict[str, np.ndarray]:
    """The sums over all vocabulary chunks; the graph takes NAME of each sum and returns new_NAME."""
    updated = {name: np.empty_like(array) for name, array in sums.items()}
    for chunk in chunks:
        graph.run({**feeds, **chunk, **sums}, {f"new_{name}": array for name, array in updated.items()})
        sums, updated = updated, sums  # two buffers in turn: nothing is allocated per chunk
    return sums
