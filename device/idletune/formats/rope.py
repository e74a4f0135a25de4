"""Rotary position embeddings (Su et al. 2021, arXiv 2104.09864): a short description, and cos and sin from it.

All variants are an angle per pair of values and a magnitude, which are inputs of the training graphs: plain, linear,
llama3 and longrope (a divisor per pair, from a tensor), yarn, partial and none. The formulas are those of ggml
(ggml_rope_ext, rope_yarn in ggml-cpu/ops.cpp).
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Yarn:
    """YaRN (Peng et al. 2023, arXiv 2309.00071): interpolated where a pair turns slowly, extrapolated where fast."""

    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0


@dataclass(frozen=True)
class Rope:
    """The rotary embedding of a layer.

    pairs: which values form a pair, "neighbours" (GGUF's llama layout) or "halves" (NeoX style). dimensions: how many
    values of a head are rotated, the first ones; 0 = none. scale: of all angles, 1 / factor of linear scaling.
    magnitude: a factor on cos and sin. divisors: the tensor with a divisor for each pair's angle.
    """

    pairs: str
    dimensions: int
    base: float = 10000.0
    scale: float = 1.0
    magnitude: float = 1.0
    divisors: str = ""
    yarn: Yarn | None = None


def frequencies(rope: Rope, divisors: np.ndarray | None = None) -> np.ndarray:
    """Radians per position of each pair, float64 (dimensions / 2,)."""
    turns = rope.base ** (-np.arange(0, rope.dimensions, 2) / max(1, rope.dimensions))
    turns = turns if divisors is None else turns / divisors.astype(np.float64)
    if rope.yarn is None:
        return turns * rope.scale
    extrapolated = _extrapolated_share(rope, rope.yarn)
    return turns * (rope.scale * (1 - extrapolated) + extrapolated)


def _extrapolated_share(rope: Rope, yarn: Yarn) -> np.ndarray:
    """For each pair how much its angle keeps of the unscaled one (ggml_rope_yarn_corr_dims, rope_yarn_ramp)."""

    def pair_that_turns(times: float) -> float:
        length = math.log(yarn.original_context / (times * 2 * math.pi))
        return rope.dimensions * length / (2 * math.log(rope.base))

    low = max(0, math.floor(pair_that_turns(yarn.beta_fast)))
    high = min(rope.dimensions - 1, math.ceil(pair_that_turns(yarn.beta_slow)))
    ramp = (np.arange(rope.dimensions // 2) - low) / max(0.001, high - low)
    return 1 - np.clip(ramp, 0, 1)


def cos_sin(
    rope: Rope, positions: np.ndarray, head_dim: int, divisors: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin float32 (T, head_dim) for positions (T,); 1 and 0 for the values that are not rotated.

    The rotation of a pair (a, b) is (a cos - b sin, b cos + a sin), with the partner from `rotate_half_matrix`.
    """
    angles = positions[:, None] * frequencies(rope, divisors)
    angles = np.repeat(angles, 2, axis=1) if rope.pairs == "neighbours" else np.tile(angles, 2)
    cos, sin = np.ones((len(positions), head_dim), np.float32), np.zeros((len(positions), head_dim), np.float32)
    cos[:, : rope.dimensions] = np.cos(angles) * rope.magnitude
    sin[:, : rope.dimensions] = np.sin(angles) * rope.magnitude
    return cos, sin


def rotate_half_matrix(rope: Rope, head_dim: int) -> np.ndarray:
    """rotate_half as a matrix float32 (head_dim, head_dim): x @ matrix is (-b, a) for a pair (a, b), 0 elsewhere.

    A product, because ONNX Runtime gathers along the last axis several times more slowly than it multiplies.
    """
    half, places = max(1, rope.dimensions // 2), np.arange(rope.dimensions)
    partner = places ^ 1 if rope.pairs == "neighbours" else (places + half) % max(1, rope.dimensions)
    first = places % 2 == 0 if rope.pairs == "neighbours" else places < half
    matrix = np.zeros((head_dim, head_dim), np.float32)
    matrix[partner, places] = np.where(first, -1, 1)
    return matrix
