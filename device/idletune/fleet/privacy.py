"""Differential privacy of updates: the Gaussian mechanism for all of one user's answers, counted over all rounds.

An update is clipped to a norm C and gets noise of standard deviation z C in every coordinate, z being the noise
multiplier. Neighbours are a home with these answers and one that sent noise alone, so the sensitivity is C. Mechanisms
of multipliers z_i together are one Gaussian mechanism with mu = sqrt(sum 1 / z_i^2) (Dong, Roth & Su 2019, arXiv
1905.02383, corollary 3.3), whose exact curve is delta(epsilon) = Phi(mu / 2 - epsilon / mu) - e^epsilon
Phi(-mu / 2 - epsilon / mu) (Balle & Wang 2018, arXiv 1805.06530, theorem 8).
"""

import math
import secrets
from collections.abc import Iterable

import numpy as np

MOST_EPSILON = 500.0  # beyond it is told as none: e^500 is near what a float holds


def clipped(update: np.ndarray, norm: float) -> np.ndarray:
    """The update, float32 (n,), scaled to a Euclidean norm of at most `norm`."""
    length = float(np.linalg.norm(update.astype(np.float64)))
    return update if length <= norm else (update * (norm / length)).astype(np.float32)


def noised(update: np.ndarray, deviation: float) -> np.ndarray:
    """With normal noise, seeded by the system's randomness. No defence against attacks on floating-point samplers."""
    if not deviation:
        return update
    generator = np.random.default_rng(secrets.randbits(256))
    return update + generator.normal(0.0, deviation, update.shape).astype(np.float32)


def epsilon(multipliers: Iterable[float], delta: float) -> float:
    """What releases with these noise multipliers cost together; 0 for none, infinite where one has no noise."""
    multipliers = list(multipliers)
    if not multipliers:
        return 0.0
    if not all(multipliers):
        return math.inf
    mu = math.sqrt(sum(1 / z**2 for z in multipliers))
    low, high = 0.0, 1.0
    while _delta(high, mu) > delta:
        low, high = high, 2 * high
        if high > MOST_EPSILON:
            return math.inf
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _delta(middle, mu) > delta else (low, middle)
    return high


def multiplier_for(epsilon_: float, delta: float, releases: int) -> float:
    """The least noise multiplier with which so many releases cost no more than `epsilon_`."""
    low, high = 1e-3, 1.0
    while epsilon([high] * releases, delta) > epsilon_:
        high *= 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon([middle] * releases, delta) > epsilon_ else (low, middle)
    return high


def _delta(epsilon_: float, mu: float) -> float:
    return _normal(mu / 2 - epsilon_ / mu) - math.exp(epsilon_) * _normal(-mu / 2 - epsilon_ / mu)


def _normal(x: float) -> float:
    """The distribution function of the standard normal; erfc keeps its small values exact."""
    return math.erfc(-x / math.sqrt(2)) / 2
