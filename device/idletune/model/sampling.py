"""Samples the next token from logits: greedy, or top-k, top-p and temperature in the order of llama.cpp's chain."""

import numpy as np

TOP_K = 40


class Sampler:
    """Samples the tokens of one reply; temperature 0 is greedy."""

    def __init__(self, temperature: float, top_p: float, seed: int):
        self._temperature, self._top_p = temperature, top_p
        self._random = np.random.default_rng(seed)

    def sample(self, logits: np.ndarray) -> int:
        """A token id from logits float32 (vocabulary,)."""
        if self._temperature <= 0:
            return int(logits.argmax())
        best = np.argsort(logits)[: -TOP_K - 1 : -1]
        probabilities = _softmax(logits[best])
        kept = (
            int(np.searchsorted(np.cumsum(probabilities), self._top_p)) + 1
        )  # the fewest whose sum reaches top_p, at least one
        probabilities = _softmax(logits[best[:kept]] / self._temperature)
        return int(self._random.choice(best[:kept], p=probabilities))


def _softmax(logits: np.ndarray) -> np.ndarray:
    probabilities = np.exp((logits - logits.max()).astype(np.float64))
    return probabilities / probabilities.sum()
