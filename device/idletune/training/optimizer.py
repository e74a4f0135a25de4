"""AdamW on one flat vector, with gradient clipping and a cosine schedule (Loshchilov & Hutter 2019)."""

import math

import numpy as np

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
BLOCK = 1 << 14  # parameters updated together, so that the temporaries stay in the processor's cache


def cosine(step: int, steps: int, peak: float, warmup: float = 0.05) -> float:
    """Learning rate of `step` (0-based) of `steps`: linear warm-up over a share of them, then half a cosine."""
    warm = max(1, round(steps * warmup))
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm + 1) / max(1, steps - warm + 1)))


def clip_grad_norm(gradient: np.ndarray, max_norm: float) -> float:
    """Scale `gradient` in place to a norm of at most `max_norm`; returns the norm before."""
    norm = float(np.sqrt(np.dot(gradient, gradient)))
    if norm > max_norm:
        gradient *= np.float32(max_norm / (norm + 1e-6))
    return norm


class AdamW:
    """Moments of a parameter vector; `step` counts the updates made."""

    def __init__(self, size: int, weight_decay: float = 0.0):
        self.first, self.second = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self.step, self.weight_decay = 0, weight_decay

    def update(self, parameters: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """One step in place; parameters and gradient float32 of the same length."""
        self.step += 1
        for start in range(0, len(parameters), BLOCK):
            block = slice(start, start + BLOCK)
            self._update(parameters[block], gradient[block], self.first[block], self.second[block], rate)

    def _update(self, parameters, gradient, first, second, rate: float) -> None:
        first += np.float32(1 - BETA1) * (gradient - first)
        second += np.float32(1 - BETA2) * (gradient * gradient - second)
        scale = np.float32(rate / (1 - BETA1**self.step))
        spread = np.sqrt(second / np.float32(1 - BETA2**self.step)) + np.float32(EPSILON)
        if self.weight_decay:
            parameters *= np.float32(1 - rate * self.weight_decay)
        parameters -= scale * first / spread
