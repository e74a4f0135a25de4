"""Packing dialogue sets into training rows without padding.

A row is a flat list of tokens from whole dialogue sets; the large matrix products see exactly these.
Attention works on slots of the row's longest set: shorter sets share a slot, kept apart by the mask.
So the cost of attention grows with the sets' lengths, not with the square of the row's.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import UsageError

MASKED = np.float32(-1e9)  # added to a score; exp() of it is 0 even beside other masked scores
IGNORED = -100


class Example(NamedTuple):
    """One dialogue set as tokens: `labels[i]` is the token to predict at position i, or -100."""

    tokens: np.ndarray  # int32 (n,)
    labels: np.ndarray  # int32 (n,)


@dataclass(frozen=True)
class Row:
    """T tokens of several sets: tokens, labels, positions int64 (T,); slots int64 (B, L) into the tokens;
    places int64 (T,), each token's index in the flattened slots; mask float32 (B, L, L)."""

    tokens: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    slots: np.ndarray
    places: np.ndarray
    mask: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        return np.flatnonzero(self.labels >= 0)


def plan_rows(lengths: list[int], row_tokens: int, order: np.ndarray) -> list[list[int]]:
    """Fill rows of at most `row_tokens` with sets taken in `order`; a longer set gets a row of its own."""
    rows, current, used = [], [], 0
    for index in order:
        if current and used + lengths[index] > row_tokens:
            rows.append(current)
            current, used = [], 0
        current.append(int(index))
        used += lengths[index]
    return [*rows, current] if current else rows


def make_row(examples: list[Example]) -> Row:
    """Lay whole sets out as one row."""
    lengths = [len(example.tokens) for example in examples]
    tokens = np.concatenate([example.tokens for example in examples]).astype(np.int64)
    labels = np.concatenate([example.labels for example in examples]).astype(np.int64)
    if not (labels >= 0).any():
        raise UsageError(f"none of the {len(tokens)} tokens of a row carries a label; give sets with a response")
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    slots, places, mask = _lay_out(lengths, starts)
    positions = np.concatenate([np.arange(n) for n in lengths])
    return Row(tokens, labels, positions.astype(np.int64), slots, places, mask)


def _lay_out(lengths: list[int], starts: np.ndarray):
    """First-fit decreasing of the sets into slots as long as the longest set."""
    longest, used, place = max(lengths), [], {}
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        slot = next((s for s, n in enumerate(used) if n + lengths[index] <= longest), len(used))
        if slot == len(used):
            used.append(0)
        place[index] = (slot, used[slot])
        used[slot] += lengths[index]
    slots = np.zeros((len(used), longest), np.int64)
    mask = np.full((len(used), longest, longest), MASKED, np.float32)
    # A padding position attends to itself alone: its gradient then stays out of every real token.
    mask[:, np.arange(longest), np.arange(longest)] = 0
    places = np.empty(sum(lengths), np.int64)
    for index, (slot, at) in place.items():
        n, start = lengths[index], int(starts[index])
        slots[slot, at : at + n] = np.arange(start, start + n)
        places[start : start + n] = slot * longest + np.arange(at, at + n)
        mask[slot, at : at + n, at : at + n] = np.where(np.tri(n, dtype=bool), np.float32(0), MASKED)
    return slots, places, mask


def rotary_angles(positions: np.ndarray, head_dim: int, base: float) -> tuple[np.ndarray, np.ndarray]:
    """cos and signed sin, float32 (T, head_dim), for rotary pairs that are neighbours (GGUF's llama layout).

    Rotation of a pair (a, b): (a cos - b sin, b cos + a sin); the graph swaps a pair and adds sin times it.
    """
    frequencies = base ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.repeat(positions[:, None] * frequencies, 2, axis=1)
    signs = np.tile([-1.0, 1.0], head_dim // 2)
    return np.cos(angles).astype(np.float32), (np.sin(angles) * signs).astype(np.float32)
