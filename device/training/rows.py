"""Packing dialogue sets into training rows without padding, and without computing anything twice.

A row is a flat list of tokens from whole dialogue sets; the large matrix products see exactly these. What all
sets of a row begin with (the chat template's opening) stands in it once: being causal, it is the same in all.
Attention works on slots of the row's longest set: shorter sets share a slot, kept apart by the mask.
So the cost of attention grows with the sets' lengths, not with the square of the row's.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import UsageError

MASKED = np.float32(-1e9)  # added to a score; exp() of it is 0 even beside other masked scores
IGNORED = -100
EVEN = 4  # a row's tokens are a multiple of it, so that a few threads can share them equally


class Example(NamedTuple):
    """One dialogue set as tokens: `labels[i]` is the token to predict at position i, or -100."""

    tokens: np.ndarray  # int32 (n,)
    labels: np.ndarray  # int32 (n,)


@dataclass(frozen=True)
class Layout:
    """Where a row's T tokens stand in attention.

    slots int64 (B, L) of queries and keys int64 (B, K), tokens by number: a slot's keys are a column nobody
    looks at, the shared beginning, then the slot's own tokens. places and key_places int64 (T,), each token's
    own index in the flattened slots and keys; shared int64 (T,), a token's column in the shared beginning or 0;
    mask float32 (B, L, K), 0 where a query sees a key.
    """

    slots: np.ndarray
    places: np.ndarray
    keys: np.ndarray
    key_places: np.ndarray
    shared: np.ndarray
    mask: np.ndarray

    def mask_within(self, window: int, positions: np.ndarray) -> np.ndarray:
        """The mask of a layer that looks back `window` tokens (0 = as far as the set goes)."""
        if not 0 < window <= positions.max():
            return self.mask
        distances = positions[self.slots][:, :, None] - positions[self.keys][:, None, :]
        return np.where(distances >= window, MASKED, self.mask)


@dataclass(frozen=True)
class Row:
    """T tokens of several sets: tokens, labels, positions int64 (T,); `lengths` of what each set adds to the
    `shared` tokens at the beginning; and, where they are known already, the values that enter the first
    trained layer, float32 (T, hidden). `whole_tokens` counts the sets' tokens one by one."""

    tokens: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    layout: Layout
    shared: int
    lengths: list[int]
    entering: np.ndarray | None = None

    @property
    def labelled(self) -> np.ndarray:
        return np.flatnonzero(self.labels >= 0)

    @property
    def whole_tokens(self) -> int:
        return sum(self.lengths) + self.shared * len(self.lengths)

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """Values (T, ...) of the row's tokens by set, the shared beginning included."""
        ends = self.shared + np.cumsum(self.lengths)
        return [
            np.concatenate([values[: self.shared], values[end - length : end]])
            for end, length in zip(ends, self.lengths)
        ]


def shared_beginning(examples: list[Example]) -> int:
    """How many tokens all examples begin with in common, none of them with a label; 0 for one example.

    Every example keeps a token of its own.
    """
    if len(examples) < 2:
        return 0
    end = min(int(np.flatnonzero(np.append(e.labels[:-1] >= 0, True))[0]) for e in examples)
    first = examples[0].tokens[:end]
    same = np.all([e.tokens[:end] == first for e in examples], axis=0)
    return int(np.argmin(np.append(same, False)))


def plan_rows(examples: list[Example], row_tokens: int, order: np.ndarray) -> list[list[int]]:
    """Fill rows of at most `row_tokens` with sets taken in `order`; a longer set gets a row of its own.

    What all sets begin with counts once.
    """
    shared = shared_beginning(examples)
    rows, current, used = [], [], shared
    for index in order:
        length = len(examples[index].tokens) - shared
        if current and used + length > row_tokens:
            rows.append(current)
            current, used = [], shared
        current.append(int(index))
        used += length
    return [*rows, current] if current else rows


def make_row(examples: list[Example], entering: list[np.ndarray] | None = None) -> Row:
    """Lay whole sets out as one row; `entering` holds each set's values at the first trained layer.

    The last set is followed by tokens that nothing depends on, up to a multiple of EVEN.
    """
    shared = shared_beginning(examples)
    lengths = [len(example.tokens) - shared for example in examples]
    more = -(shared + sum(lengths)) % EVEN

    def joined(arrays, filling=0) -> np.ndarray:
        end = np.full((more, *arrays[0].shape[1:]), filling, arrays[0].dtype)
        return np.concatenate([arrays[0][:shared], *(array[shared:] for array in arrays), end])

    labels = joined([example.labels for example in examples], IGNORED).astype(np.int64)
    if not (labels >= 0).any():
        raise UsageError(f"none of the {len(labels)} tokens of a row carries a label; give sets with a response")
    tokens = joined([example.tokens for example in examples]).astype(np.int64)
    positions = joined([np.arange(len(example.tokens)) for example in examples])
    entering = None if entering is None else joined(entering)
    layout = lay_out(shared, [*lengths[:-1], lengths[-1] + more])
    return Row(tokens, labels, positions, layout, shared, lengths, entering)


def divide(tokens: int, threads: int) -> int:
    """How many batches of equal size tokens make: one for each thread, or the next fewer that come out even."""
    return next(count for count in range(min(threads, tokens), 0, -1) if tokens % count == 0)


def lay_out(shared: int, lengths: list[int]) -> Layout:
    """Tokens as `make_row` orders them: a shared beginning, then what each set adds to it."""
    pieces = [shared, *lengths] if shared else lengths  # the beginning's queries need a place as well
    slot_of, at_of, longest = _fit(pieces)
    count, before = max(slot_of) + 1, 1 + shared
    slots = np.zeros((count, longest), np.int64)
    keys = np.zeros((count, before + longest), np.int64)
    keys[:, 1:before] = np.arange(shared)
    mask = np.full((count, longest, before + longest), MASKED, np.float32)
    # Padding attends to itself alone: its gradient then stays out of every real token.
    mask[:, np.arange(longest), before + np.arange(longest)] = 0
    slot, at = np.repeat(slot_of, pieces), np.concatenate([np.arange(a, a + n) for a, n in zip(at_of, pieces)])
    tokens = np.arange(sum(pieces))
    slots[slot, at] = keys[slot, before + at] = tokens
    for number, (s, a, n) in enumerate(zip(slot_of, at_of, pieces)):
        mask[s, a : a + n, before + a : before + a + n] = np.where(np.tri(n, dtype=bool), np.float32(0), MASKED)
        if shared and number:
            mask[s, a : a + n, 1:before] = 0
    columns = np.where(tokens < shared, 1 + tokens, 0)
    return Layout(slots, slot * longest + at, keys, slot * keys.shape[1] + before + at, columns, mask)


def _fit(lengths: list[int]) -> tuple[list[int], list[int], int]:
    """First-fit decreasing into slots as long as the longest: each one's slot, its start there, the slots' length."""
    longest, used = max(lengths), []
    slot_of, at_of = [0] * len(lengths), [0] * len(lengths)
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        slot = next((s for s, n in enumerate(used) if n + lengths[index] <= longest), len(used))
        if slot == len(used):
            used.append(0)
        slot_of[index], at_of[index] = slot, used[slot]
        used[slot] += lengths[index]
    return slot_of, at_of, longest


def rotary_angles(positions: np.ndarray, head_dim: int, base: float, pairs: str) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin, float32 (T, head_dim), of the values of a head; `pairs` are "neighbours" (GGUF's llama layout)
    or "halves". Rotation of a pair (a, b): (a cos - b sin, b cos + a sin); see `rotary_turn`."""
    angles = positions[:, None] * base ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.repeat(angles, 2, axis=1) if pairs == "neighbours" else np.tile(angles, 2)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rotary_turn(head_dim: int, pairs: str) -> np.ndarray:
    """What takes a head's values to their partners, signed as sin needs them: x @ turn is (-b, a) for (a, b)."""
    half, places = head_dim // 2, np.arange(head_dim)
    partner = places ^ 1 if pairs == "neighbours" else (places + half) % head_dim
    first = places % 2 == 0 if pairs == "neighbours" else places < half
    turn = np.zeros((head_dim, head_dim), np.float32)
    turn[partner, places] = np.where(first, -1, 1)
    return turn
