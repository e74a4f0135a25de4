"""Packs dialogue sets into training sequences without padding, and without computing anything twice.

Design choices:
- a packed sequence is a flat list of tokens from whole dialogue sets, and the large matrix products see exactly these;
- the prefix that all its sets share (the opening of the chat template) stands in it once. Attention is causal, so its
  hidden states are the same in every set;
- attention works on segments as long as the longest set. Several short sets share a segment, kept apart by the mask. So
  its cost grows with the lengths of the sets, not with the square of the sequence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..examples import IGNORE_INDEX, Example

MASKED = np.float32(-1e9)  # added to a score: exp() of it is 0, and two of them do not overflow
TOKEN_MULTIPLE = 4  # a sequence is padded to a multiple of it, so that up to 4 threads get equal batches of tokens


@dataclass(frozen=True)
class AttentionLayout:
    """Where the T tokens of a packed sequence stand in attention: B segments of L queries and K keys.

    The fields are inputs of the attention graphs, by these names:
    - query_tokens int64 (B, L) and key_tokens int64 (B, K): token numbers. Column 0 of the keys is padding, then comes
      the shared prefix, then the segment's own tokens;
    - query_positions and key_positions int64 (T,): the index of each token in those, flattened;
    - prefix_columns int64 (T,): the column of a token of the shared prefix in the keys, 0 for all others;
    - attention_mask float32 (B, L, K): 0 where a query sees a key, MASKED elsewhere.
    """

    query_tokens: np.ndarray
    query_positions: np.ndarray
    key_tokens: np.ndarray
    key_positions: np.ndarray
    prefix_columns: np.ndarray
    attention_mask: np.ndarray

    def mask_within(self, window: int, positions: np.ndarray) -> np.ndarray:
        """The mask of a layer with sliding-window attention over `window` tokens (0 = no window)."""
        if not 0 < window <= positions.max():
            return self.attention_mask
        distances = positions[self.query_tokens][:, :, None] - positions[self.key_tokens][:, None, :]
        return np.where(distances >= window, MASKED, self.attention_mask)


@dataclass(frozen=True)
class PackedSequence:
    """T tokens of several dialogue sets: tokens, labels and positions int64 (T,).

    `shared` is the length of the prefix all sets share, `lengths` what each set adds to it. `state` float32 (T, width)
    is what enters the first trainable layer, where the activation cache has it. `unpacked_tokens` counts
    the prefix once for every set.
    """

    tokens: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    layout: AttentionLayout
    shared: int
    lengths: list[int]
    state: np.ndarray | None = None

    @property
    def labelled_positions(self) -> np.ndarray:
        return np.flatnonzero(self.labels >= 0)

    @property
    def unpacked_tokens(self) -> int:
        return sum(self.lengths) + self.shared * len(self.lengths)

    def earlier_tokens(self, count: int) -> np.ndarray:
        """Which tokens stand before each one in its dialogue set: float32 (count, T, T), farthest first.

        [d, t, s] is 1 where token s stands `count - d` places before token t. As a matrix it moves hidden states along
        the sequence in a product, and back in the transposed one.
        """
        numbers = np.arange(len(self.tokens))
        before = numbers - 1
        starts = self.shared + np.cumsum([0, *self.lengths[:-1]])
        before[starts] = self.shared - 1  # what comes before a set is the shared prefix, -1 where there is none
        matrices, at = np.zeros((count, len(numbers), len(numbers)), np.float32), numbers
        for d in reversed(range(count)):
            at = np.where(at >= 0, before[at], -1)
            matrices[d, numbers[at >= 0], at[at >= 0]] = 1
        return matrices

    def visible_tokens(self) -> np.ndarray:
        """float32 (T, T): 1 where token s is token t itself or stands before it in its dialogue set."""
        count, ends = len(self.tokens), self.shared + np.cumsum(self.lengths)
        set_of = np.searchsorted(ends, np.arange(count), side="right").clip(max=len(ends) - 1)
        set_of[: self.shared] = -1
        same = (set_of[:, None] == set_of) | (set_of == -1)
        return np.tril(same).astype(np.float32)

    def unpack(self, values: np.ndarray) -> list[np.ndarray]:
        """Values (T, ...) split by dialogue set, each with the shared prefix in front."""
        ends = self.shared + np.cumsum(self.lengths)
        return [
            np.concatenate([values[: self.shared], values[end - length : end]])
            for end, length in zip(ends, self.lengths)
        ]


def shared_prefix(examples: list[Example]) -> int:
    """Length of the prefix that all examples share; 0 for a single example.

    It ends before the first label, and every example keeps at least one token of its own.
    """
    if len(examples) < 2:
        return 0
    end = min(int(np.flatnonzero(np.append(e.labels[:-1] >= 0, True))[0]) for e in examples)
    first = examples[0].tokens[:end]
    same = np.all([e.tokens[:end] == first for e in examples], axis=0)
    return int(np.argmin(np.append(same, False)))


def plan_sequences(
    examples: list[Example], sequence_tokens: int, order: Sequence[int] | np.ndarray, beside: Mapping[int, int] = {}
) -> list[list[int]]:
    """Example indices by packed sequence: filled in `order` up to `sequence_tokens`, the shared prefix counted once.

    A longer example gets a sequence of its own. `beside` gives for some examples the index of one that follows it in
    the same sequence.
    """
    shared = shared_prefix(examples)
    sequences: list[list[int]] = []
    current: list[int] = []
    used = shared
    for index in order:
        together = [int(index), *([beside[index]] if index in beside else [])]
        length = sum(len(examples[i].tokens) - shared for i in together)
        if current and used + length > sequence_tokens:
            sequences.append(current)
            current, used = [], shared
        current += together
        used += length
    return [*sequences, current] if current else sequences


def pack(examples: list[Example], states: list[np.ndarray] | None = None) -> PackedSequence:
    """One packed sequence of whole examples; `states` are what enters the first trainable layer of each.

    Padding up to a multiple of TOKEN_MULTIPLE follows the last example; no token attends to it.
    UsageError when no token carries a label.
    """
    shared = shared_prefix(examples)
    lengths = [len(example.tokens) - shared for example in examples]
    padding = -(shared + sum(lengths)) % TOKEN_MULTIPLE

    def joined(arrays, filling=0) -> np.ndarray:
        end = np.full((padding, *arrays[0].shape[1:]), filling, arrays[0].dtype)
        return np.concatenate([arrays[0][:shared], *(array[shared:] for array in arrays), end])

    labels = joined([example.labels for example in examples], IGNORE_INDEX).astype(np.int64)
    if not (labels >= 0).any():
        raise UsageError(f"none of the {len(labels)} tokens of a sequence carries a label; give sets with a response")
    tokens = joined([example.tokens for example in examples]).astype(np.int64)
    positions = joined([np.arange(len(example.tokens)) for example in examples])
    state = None if states is None else joined(states)
    layout = pack_attention(shared, [*lengths[:-1], lengths[-1] + padding])
    return PackedSequence(tokens, labels, positions, layout, shared, lengths, state)


def batch_count(tokens: int, threads: int) -> int:
    """Number of equal batches that the tokens divide into: one per thread, or the next smaller divisor."""
    return next(count for count in range(min(threads, tokens), 0, -1) if tokens % count == 0)


def pack_attention(shared: int, lengths: list[int]) -> AttentionLayout:
    """The layout of tokens as `pack` orders them: the shared prefix, then what each set adds to it."""
    pieces = [shared, *lengths] if shared else lengths  # the prefix has queries too
    segment_of, start_of, longest = _fit(pieces)
    count, before = max(segment_of) + 1, 1 + shared
    queries = np.zeros((count, longest), np.int64)
    keys = np.zeros((count, before + longest), np.int64)
    keys[:, 1:before] = np.arange(shared)
    mask = np.full((count, longest, before + longest), MASKED, np.float32)
    # Padding attends to itself alone: its gradient then stays out of every real token.
    mask[:, np.arange(longest), before + np.arange(longest)] = 0
    segment = np.repeat(segment_of, pieces)
    column = np.concatenate([np.arange(start, start + n) for start, n in zip(start_of, pieces)])
    tokens = np.arange(sum(pieces))
    queries[segment, column] = keys[segment, before + column] = tokens
    for number, (s, start, n) in enumerate(zip(segment_of, start_of, pieces)):
        own = slice(start, start + n)
        mask[s, own, before + start : before + start + n] = np.where(np.tri(n, dtype=bool), np.float32(0), MASKED)
        if shared and number:
            mask[s, own, 1:before] = 0
    return AttentionLayout(
        query_tokens=queries,
        query_positions=segment * longest + column,
        key_tokens=keys,
        key_positions=segment * keys.shape[1] + before + column,
        prefix_columns=np.where(tokens < shared, 1 + tokens, 0),
        attention_mask=mask,
    )


def _fit(lengths: list[int]) -> tuple[list[int], list[int], int]:
    """First-fit decreasing bin packing: the segment of each piece, its start in it, and the length of a segment."""
    longest = max(lengths)
    used: list[int] = []  # the occupied part of each segment
    segment_of, start_of = [0] * len(lengths), [0] * len(lengths)
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        segment = next((s for s, n in enumerate(used) if n + lengths[index] <= longest), len(used))
        if segment == len(used):
            used.append(0)
        segment_of[index], start_of[index] = segment, used[segment]
        used[segment] += lengths[index]
    return segment_of, start_of, longest
