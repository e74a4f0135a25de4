"""Adapters on parts of a fused matrix, as llama.cpp takes them: one adapter on the whole.

Its A holds the parts' A below each other, its B is block-diagonal. llama.cpp scales an adapter by alpha / rank of that
B, which is as many times larger as there are parts, and so are the values of B.
"""

from collections.abc import Mapping

import numpy as np

from ..formats.sublayers import Linear

Pair = tuple[np.ndarray, np.ndarray]  # A (rank, columns) and B (rows, rank)


def is_whole(name: str, linear: Linear) -> bool:
    """Whether a linear layer has a tensor of its own."""
    return linear.tensor == f"{name}.weight"


def joined(parts: Mapping[str, Pair], linears: Mapping[str, Linear]) -> Pair:
    """One adapter of a fused tensor from those of its parts, by their names; `linears` are all parts of the tensor."""
    rank = sum(len(a) for a, _ in parts.values())
    b = np.zeros((max(one.first_row + one.rows for one in linears.values()), rank), np.float32)
    at = 0
    for name, (part_a, part_b) in parts.items():
        rows = slice(linears[name].first_row, linears[name].first_row + linears[name].rows)
        b[rows, at : at + len(part_a)] = part_b * np.float32(rank / len(part_a))
        at += len(part_a)
    return np.concatenate([a for a, _ in parts.values()]), b


def split(a: np.ndarray, b: np.ndarray, linears: Mapping[str, Linear], scaled: bool) -> dict[str, Pair]:
    """The adapters of a fused tensor's parts, by their names; a part of rows without effect has none.

    `scaled`: the adapter's file has an alpha, so that its scale goes by the rank.
    """
    parts = {}
    for name, linear in linears.items():
        own = b[linear.first_row : linear.first_row + linear.rows]
        used = own.any(axis=0)
        if used.any():
            scale = np.float32(used.sum() / len(a) if scaled else 1)
            parts[name] = np.ascontiguousarray(a[used]), own[:, used] * scale
    return parts
