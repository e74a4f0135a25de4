"""The head on labelled positions: the last norm, logits and cross-entropy, a part of the vocabulary at a time."""

import numpy as np

from .graph import Graph
from .weights import Weights

LOWEST = np.float32(-1e30)


class Head:
    """Loss and gradient of values (n, hidden) that leave the last layer.

    The parts are walked once; what is carried from one to the next is the highest logit, the sum of
    exponentials and, for gradients, the embeddings they weigh (the online softmax: arXiv 1805.02867).
    """

    def __init__(self, weights: Weights, folder, threads: int):
        self.weights = weights
        self._total, self._gather, self._end = (
            Graph(folder / f"head_{name}.onnx", threads) for name in ("total", "gather", "end")
        )

    def losses(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cross-entropy in nats, float32 (n,); x float32 (n, hidden), labels (n,)."""
        return self._walk(x, labels, self._total, None)

    def gradient(self, x: np.ndarray, labels: np.ndarray, dx: np.ndarray) -> float:
        """The losses' sum, and fills dx (n, hidden) with its gradient."""
        return float(self._walk(x, labels, self._gather, dx).sum(dtype=np.float64))

    def _walk(self, x, labels, graph: Graph, dx) -> np.ndarray:
        n, hidden = x.shape
        sums = {"highest": np.full((n, 1), LOWEST), "total": np.zeros((n, 1), np.float32)}
        gathered = np.zeros((n, hidden), np.float32)
        if dx is not None:
            sums["gathered"] = gathered
        news = {name: np.empty_like(array) for name, array in sums.items()}
        feeds = {"x": x, "norm": self.weights.output_norm}
        for part in self.weights.output_parts():
            graph.run({**feeds, "embedding": part, **sums}, {f"new_{name}": array for name, array in news.items()})
            sums, news = news, sums
        sums["gathered"] = sums.get("gathered", gathered)
        loss, d = np.empty(n, np.float32), np.empty_like(gathered) if dx is None else dx
        self._end.run({**feeds, "wanted": self.weights.output_rows(labels), **sums}, {"loss": loss, "dx": d})
        return loss
