"""Embeddings of a language model made comparable.

They share one direction, and a few dimensions are far larger than the rest, so that plain cosines hardly tell texts
apart. Standardizing each dimension over the texts at hand mends both (Timkey and van Schijndel, "All Bark and No Bite:
Rogue Dimensions in Transformer Language Models Obscure Representational Quality", EMNLP 2021).
"""

import numpy as np

PRIOR = 2  # rows' worth of "no common direction, all dimensions alike": the first few texts tell little


class Standardization:
    """Centres the dimensions and gives them equal spread, as `rows` (n, hidden) have them."""

    def __init__(self, rows: np.ndarray):
        count = len(rows)
        self._mean = rows.sum(axis=0) / (count + PRIOR)
        variances = np.square(rows - self._mean).sum(axis=0)
        level = variances.mean() / max(count, 1) or 1.0
        self._spread = np.sqrt((variances + PRIOR * level) / (count + PRIOR))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 (..., hidden); zeros where nothing is left."""
        standardized = (rows - self._mean) / self._spread
        norms = np.linalg.norm(standardized, axis=-1, keepdims=True)
        return (standardized / np.where(norms > 0, norms, 1)).astype(np.float32)
