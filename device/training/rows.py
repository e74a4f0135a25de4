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
    places int64 (T,), each token's index in the flattened slots; mask float32 (B, L, L); and, where they are
    known already, the values that enter the first trained layer, float32 (T, hidden)."""

    tokens: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    slots: np.ndarray
    places: np.ndarray
    mask: np.ndarray
    entering: np.ndarray | None = None

    @property
    def labelled(self) -> np.ndarray:
        return np.flatnonzero(self.labels >= 0)

    def mask_within(self, window: int) -> np.ndarray:
        """The mask of a layer that looks back `window` tokens (0 = as far as the set goes)."""
        longest = self.mask.shape[-1]
        if not 0 < window < longest:
            return self.mask
        # A slot holds whole sets in order, so distances in a slot are distances in its sets.
        return np.where(np.tri(longest, k=-window, dtype=bool), MASKED, self.mask)


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


def make_row(examples: list[Example], entering: list[np.ndarray] | None = None) -> Row:
    """Lay whole sets out as one row; `entering` holds each set's values at the first trained layer."""
    lengths = [len(example.tokens) for example in examples]
    tokens = np.concatenate([example.tokens for example in examples]).astype(np.int64)
    labels = np.concatenate([example.labels for example in examples]).astype(np.int64)
    if not (labels >= 0).any():
        raise UsageError(f"none of the {len(tokens)} tokens of a row carries a label; give sets with a response")
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    slots, places, mask = _lay_out(lengths, starts)
    positions = np.concatenate([np.arange(n) for n in lengths])
    entering = None if entering is None else np.concatenate(entering)
    return Row(tokens, labels, positions.astype(np.int64), slots, places, mask, entering)


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


def rotary_angles(positions: np.ndarray, head_dim: int, base: float, pairs: str) -> tuple[np.ndarray, np.ndarray]:
    """cos and signed sin, float32 (T, head_dim); `pairs` are "neighbours" (GGUF's llama layout) or "halves".

    Rotation of a pair (a, b): (a cos - b sin, b cos + a sin); the graph swaps a pair and adds sin times it.
    """
    angles = positions[:, None] * base ** (-np.arange(0, head_dim, 2) / head_dim)
    signs = np.ones((2, head_dim // 2))
    signs[0] = -1
    angles, signs = np.stack([angles, angles], axis=1), signs[None]
    if pairs == "neighbours":
        angles, signs = angles.swapaxes(1, 2), signs.swapaxes(1, 2)
    flat = angles.reshape(len(positions), head_dim)
    return np.cos(flat).astype(np.float32), (np.sin(flat) * signs.reshape(1, head_dim)).astype(np.float32)
