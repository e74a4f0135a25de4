"""Choosing the next token from logits: greedy, or top-k, nucleus and temperature, as llama.cpp's chain does."""

import numpy as np

TOP_K = 40


class Sampler:
    """One reply's choices; with temperature 0 the likeliest token, always."""

    def __init__(self, temperature: float, top_p: float, seed: int):
        self._temperature, self._top_p = temperature, top_p
        self._random = np.random.default_rng(seed)

    def sample(self, logits: np.ndarray) -> int:
        """A token id from logits float32 (vocabulary,)."""
        if self._temperature <= 0:
            return int(logits.argmax())
        best = np.argsort(logits)[: -TOP_K - 1 : -1]
        odds = _softmax(logits[best])
        kept = int(np.searchsorted(np.cumsum(odds), self._top_p)) + 1  # the fewest that hold top_p, never none
        odds = _softmax(logits[best[:kept]] / self._temperature)
        return int(self._random.choice(best[:kept], p=odds))


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp((logits - logits.max()).astype(np.float64))
    return odds / odds.sum()
