import numpy as np
import pytest
from idletune.errors import UsageError
from idletune.training.packing import (
    IGNORE_INDEX,
    MASKED,
    TOKEN_MULTIPLE,
    Example,
    batch_count,
    pack,
    plan_sequences,
    shared_prefix,
)


def example(n, start=0, shared=0):
    """`shared` tokens that all examples have, then tokens of its own; labels on the latter."""
    tokens = np.concatenate([1000 + np.arange(shared), np.arange(start, start + n - shared)]).astype(np.int32)
    labels = np.arange(n, dtype=np.int32)
    labels[:shared] = labels[-1] = IGNORE_INDEX
    return Example(tokens, labels)


def examples(lengths, shared=0):
    return [example(n, 100 * i, shared) for i, n in enumerate(lengths)]


def test_rows_hold_every_set_once_and_stay_short():
    lengths = list(np.random.default_rng(0).integers(4, 90, 60))
    for shared in (0, 3):
        made = examples(lengths, shared)
        rows = plan_sequences(made, 128, np.random.default_rng(1).permutation(60))
        assert sorted(i for row in rows for i in row) == list(range(60))
        assert all(len(pack([made[i] for i in row]).tokens) <= 128 for row in rows)
    assert len(rows) < len(plan_sequences(examples(lengths), 128, np.arange(60)))


def test_a_set_longer_than_a_row_gets_its_own():
    assert plan_sequences(examples([10, 300, 10]), 128, np.arange(3)) == [[0], [1], [2]]


@pytest.mark.parametrize("shared", [0, 2])
def test_a_token_sees_its_own_set_up_to_itself_and_nothing_else(shared):
    lengths = [5, 12, 3, 7, 4]
    sets = examples(lengths, shared)
    row = pack(sets)
    layout, longest = row.layout, row.layout.query_tokens.shape[1]
    assert row.unpacked_tokens == 31 and longest == 12 - shared
    assert len(row.tokens) == (24 if shared else 32)  # 31 - 4 * shared, up to a multiple of TOKEN_MULTIPLE
    assert layout.query_tokens.reshape(-1)[layout.query_positions].tolist() == list(range(len(row.tokens)))
    assert layout.key_tokens.reshape(-1)[layout.key_positions].tolist() == list(range(len(row.tokens)))
    for whole, tokens, positions in zip(sets, row.unpack(row.tokens), row.unpack(row.positions)):
        assert tokens.tolist() == whole.tokens.tolist() and positions.tolist() == list(range(len(tokens)))
    for numbers in row.unpack(np.arange(len(row.tokens))):
        for i, token in enumerate(numbers):
            slot, at = divmod(int(layout.query_positions[token]), longest)
            seen = layout.key_tokens[slot, layout.attention_mask[slot, at] == 0]
            assert sorted(seen) == sorted(numbers[: i + 1])


def test_what_fills_a_row_up_follows_the_last_set_and_is_seen_by_nothing():
    sets = examples([6, 9])
    row = pack(sets, states=[np.ones((len(s.tokens), 2), np.float32) for s in sets])
    assert len(row.tokens) == 16 and (row.labels[15:] == IGNORE_INDEX).all() and not row.state[15:].any()
    layout, longest = row.layout, row.layout.query_tokens.shape[1]
    assert longest == 10 and layout.query_tokens.reshape(-1)[layout.query_positions].tolist() == list(range(16))
    for token in range(15):
        slot, at = divmod(int(layout.query_positions[token]), longest)
        assert 15 not in layout.key_tokens[slot, layout.attention_mask[slot, at] == 0]
    assert [len(part) for part in row.unpack(row.state)] == [6, 9]


def test_batches_are_equal():
    assert [batch_count(256, threads) for threads in (1, 2, 3, 4, 6)] == [1, 2, 2, 4, 4]
    assert batch_count(7, 4) == 1 and batch_count(2, 8) == 2 and TOKEN_MULTIPLE == 4


def test_a_local_layer_looks_back_a_window():
    row = pack(examples([5, 12, 3, 7, 4], shared=2))
    layout, longest = row.layout, row.layout.query_tokens.shape[1]
    mask = layout.mask_within(3, row.positions)
    for numbers in row.unpack(np.arange(len(row.tokens))):
        for i, token in enumerate(numbers):
            slot, at = divmod(int(layout.query_positions[token]), longest)
            assert sorted(layout.key_tokens[slot, mask[slot, at] == 0]) == sorted(numbers[max(0, i - 2) : i + 1])
    assert layout.mask_within(0, row.positions) is layout.attention_mask is layout.mask_within(12, row.positions)


def test_padding_attends_to_itself_alone():
    layout = pack(examples([6, 4])).layout
    used = set(layout.query_positions.tolist())
    for place in set(range(layout.query_tokens.size)) - used:
        slot, at = divmod(place, layout.query_tokens.shape[1])
        assert np.flatnonzero(layout.attention_mask[slot, at] == 0).tolist() == [1 + at]


def test_what_is_shared_carries_no_label_and_leaves_each_set_a_token():
    sets = examples([9, 6], shared=4)
    assert shared_prefix(sets) == 4 and shared_prefix(sets[:1]) == 0
    sets[0].labels[2] = 7
    assert shared_prefix(sets) == 2
    twins = [example(6, shared=6)] * 2
    assert shared_prefix(twins) == 5


def test_nobody_looks_at_the_first_column():
    layout = pack(examples([9, 6, 7], shared=4)).layout
    assert (layout.attention_mask[:, :, 0] == MASKED).all()


def test_a_row_without_labels_is_refused():
    blank = Example(np.arange(4, dtype=np.int32), np.full(4, IGNORE_INDEX, np.int32))
    with pytest.raises(UsageError, match="none of the 4 tokens"):
        pack([blank])


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_the_tokens_before_one_are_those_of_its_own_set(shared):
    sequence = pack(examples([5, 3, 4], shared))
    moved = sequence.earlier_tokens(2) @ np.arange(1.0, len(sequence.tokens) + 1)  # 0 where there is none
    numbers = [column.astype(int) for column in sequence.unpack(np.stack([np.arange(1, len(moved[0]) + 1), *moved], 1))]
    for rows in numbers:
        own = rows[:, 0]
        assert rows[:, 2].tolist() == [0, *own[:-1]]
        assert rows[:, 1].tolist() == [0, 0, *own[:-2]]


@pytest.mark.parametrize("shared", [0, 3])
def test_visible_tokens_are_those_of_attention(shared):
    sequence = pack(examples([5, 3, 4], shared))
    visible, layout = sequence.visible_tokens(), sequence.layout
    seen = np.zeros_like(visible)
    for segment, queries in enumerate(layout.query_tokens):
        for row, token in enumerate(queries):
            if layout.query_positions[token] == segment * len(queries) + row:  # padding stands nowhere
                seen[token, layout.key_tokens[segment][layout.attention_mask[segment, row] == 0]] = 1
    assert (visible == seen).all()
