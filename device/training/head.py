"""The head on labelled positions: the last norm, logits and cross-entropy, a part of the vocabulary at a time."""

from collections.abc import Iterator

import numpy as np

from .graph import Graph
from .weights import Weights

LOWEST = np.float32(-1e30)


class Head:
    """Loss and gradient of values (n, hidden) that leave the last layer.

    The parts are walked once; what is carried from one to the next is the highest logit, the sum of
    exponentials and, for gradients, the embeddings they weigh (the online softmax: arXiv 1805.02867).
    Where an `int8` head is given it finds these sums for gradients; losses are float32.
    """

    def __init__(self, weights: Weights, folder, threads: int, int8=None):
        self.weights, self._int8 = weights, int8
        self._start, self._total, self._gather, self._end = (
            Graph(folder / f"head_{name}.onnx", threads) for name in ("start", "total", "gather", "end")
        )

    def losses(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cross-entropy in nats, float32 (n,); x float32 (n, hidden), labels (n,)."""
        sums = nothing(*x.shape)
        gathered = sums.pop("gathered")
        sums = walk(self._total, {"h": self._normed(x)}, self._parts(), sums)
        return self._finish(x, labels, {**sums, "gathered": gathered}, np.empty_like(x))

    def gradient(self, x: np.ndarray, labels: np.ndarray, dx: np.ndarray) -> float:
        """The losses' sum, and fills dx (n, hidden) with its gradient."""
        h = self._normed(x)
        sums = self._int8.sums(h) if self._int8 else walk(self._gather, {"h": h}, self._parts(), nothing(*h.shape))
        return float(self._finish(x, labels, sums, dx).sum(dtype=np.float64))

    def _normed(self, x: np.ndarray) -> np.ndarray:
        h = np.empty_like(x)
        self._start.run({"x": x, "norm": self.weights.output_norm}, {"h": h})
        return h

    def _parts(self) -> Iterator[dict[str, np.ndarray]]:
        return ({"embedding": part} for part in self.weights.output_parts())

    def _finish(self, x, labels, sums: dict, dx: np.ndarray) -> np.ndarray:
        loss, wanted = np.empty(len(x), np.float32), self.weights.output_rows(labels)
        self._end.run({"x": x, "norm": self.weights.output_norm, "wanted": wanted, **sums}, {"loss": loss, "dx": dx})
        return loss


def nothing(n: int, hidden: int) -> dict[str, np.ndarray]:
    """The sums over no words yet: highest (n, 1), total (n, 1) and gathered (n, hidden)."""
    return {
        "highest": np.full((n, 1), LOWEST), "total": np.zeros((n, 1), np.float32),
        "gathered": np.zeros((n, hidden), np.float32),
    }


def walk(graph: Graph, feeds: dict, parts: Iterator[dict], sums: dict) -> dict[str, np.ndarray]:
    """The sums over all parts of the vocabulary; the graph takes `sums`, and gives new_NAME of each."""
    news = {name: np.empty_like(array) for name, array in sums.items()}
    for part in parts:
        graph.run({**feeds, **part, **sums}, {f"new_{name}": array for name, array in news.items()})
        sums, news = news, sums
    return sums
