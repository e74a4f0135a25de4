"""The head's sums over the vocabulary with products on int8, for gradients.

Errors that all tokens share would add up in an adapter's gradient, and cost 2 % of the held-out loss; two things take
them out. Values enter as their distance from a `centre`, whose logits are exact: they differ from each other by less
than from zero. And odds are rounded after a fixed random share of a step was added (dithering: Roberts 1962), so that
many small ones come out right on average.
"""

from collections.abc import Iterator

import numpy as np

from .graph import Graph
from .head import nothing, walk
from .int8 import GRAPHS, Quantizer
from .weights import OUTPUT_ROWS, Weights


class Int8Head:
    """What Head needs for a gradient, from the output matrix as codes, which are made once and kept.

    `centre` float32 (hidden,) is the mean of the first values seen, or is set: a resumed run needs the same.
    """

    def __init__(self, weights: Weights, threads: int):
        self._weights, self._quantizer = weights, Quantizer(threads)
        self._quantize = Graph(GRAPHS / "quantize_tokens.onnx", threads)
        self._gather = Graph(GRAPHS / "gather.onnx", threads)
        self._dither = np.empty((0, OUTPUT_ROWS), np.float32)
        self.centre = None

    @property
    def centre(self) -> np.ndarray | None:
        return self._centre

    @centre.setter
    def centre(self, centre: np.ndarray | None) -> None:
        self._centre, self._kept = centre, []

    def sums(self, h: np.ndarray) -> dict[str, np.ndarray]:
        """The highest logit, the sum of odds and the embeddings they weigh, for values float32 (n, hidden)."""
        if self.centre is None:
            self.centre = h.mean(axis=0)
        codes, scale = np.empty(h.shape, np.uint8), np.empty((len(h), 1), np.float32)
        self._quantize.run({"x": h - self.centre}, {"x.codes": codes, "x.scale": scale})
        return walk(self._gather, {"codes": codes, "scale": scale}, self._dithered(len(h)), nothing(*h.shape))

    def _dithered(self, n: int) -> Iterator[dict[str, np.ndarray]]:
        """The parts, each with shares of a rounding step for its odds, float32 (n, words)."""
        if len(self._dither) < n:
            self._dither = np.random.default_rng(0).random((n, OUTPUT_ROWS), np.float32) - np.float32(0.5)
        self._kept = self._kept or [*map(self._codes, self._weights.output_parts())]
        for part in self._kept:
            words = len(part["backward_codes"])
            yield {**part, "dither": np.ascontiguousarray(self._dither[:n, :words])}

    def _codes(self, part: np.ndarray) -> dict[str, np.ndarray]:
        return {**self._quantizer.codes(part), "central": part @ self.centre}
