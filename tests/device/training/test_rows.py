import numpy as np
import pytest
from idletune.errors import UsageError
from idletune.training.rows import EVEN, IGNORED, MASKED, Example, divide, make_row, plan_rows, shared_beginning


def example(n, start=0, shared=0):
    """`shared` tokens that all examples have, then tokens of its own; labels on the latter."""
    tokens = np.concatenate([1000 + np.arange(shared), np.arange(start, start + n - shared)]).astype(np.int32)
    labels = np.arange(n, dtype=np.int32)
    labels[:shared] = labels[-1] = IGNORED
    return Example(tokens, labels)


def examples(lengths, shared=0):
    return [example(n, 100 * i, shared) for i, n in enumerate(lengths)]


def test_rows_hold_every_set_once_and_stay_short():
    lengths = list(np.random.default_rng(0).integers(4, 90, 60))
    for shared in (0, 3):
        made = examples(lengths, shared)
        rows = plan_rows(made, 128, np.random.default_rng(1).permutation(60))
        assert sorted(i for row in rows for i in row) == list(range(60))
        assert all(len(make_row([made[i] for i in row]).tokens) <= 128 for row in rows)
    assert len(rows) < len(plan_rows(examples(lengths), 128, np.arange(60)))


def test_a_set_longer_than_a_row_gets_its_own():
    assert plan_rows(examples([10, 300, 10]), 128, np.arange(3)) == [[0], [1], [2]]


@pytest.mark.parametrize("shared", [0, 2])
def test_a_token_sees_its_own_set_up_to_itself_and_nothing_else(shared):
    lengths = [5, 12, 3, 7, 4]
    sets = examples(lengths, shared)
    row = make_row(sets)
    layout, longest = row.layout, row.layout.slots.shape[1]
    assert row.whole_tokens == 31 and longest == 12 - shared
    assert len(row.tokens) == (24 if shared else 32)  # 31 - 4 * shared, up to a multiple of EVEN
    assert layout.slots.reshape(-1)[layout.places].tolist() == list(range(len(row.tokens)))
    assert layout.keys.reshape(-1)[layout.key_places].tolist() == list(range(len(row.tokens)))
    for whole, tokens, positions in zip(sets, row.parts(row.tokens), row.parts(row.positions)):
        assert tokens.tolist() == whole.tokens.tolist() and positions.tolist() == list(range(len(tokens)))
    for numbers in row.parts(np.arange(len(row.tokens))):
        for i, token in enumerate(numbers):
            slot, at = divmod(int(layout.places[token]), longest)
            seen = layout.keys[slot, layout.mask[slot, at] == 0]
            assert sorted(seen) == sorted(numbers[: i + 1])


def test_what_fills_a_row_up_follows_the_last_set_and_is_seen_by_nothing():
    sets = examples([6, 9])
    row = make_row(sets, entering=[np.ones((len(s.tokens), 2), np.float32) for s in sets])
    assert len(row.tokens) == 16 and (row.labels[15:] == IGNORED).all() and not row.entering[15:].any()
    layout, longest = row.layout, row.layout.slots.shape[1]
    assert longest == 10 and layout.slots.reshape(-1)[layout.places].tolist() == list(range(16))
    for token in range(15):
        slot, at = divmod(int(layout.places[token]), longest)
        assert 15 not in layout.keys[slot, layout.mask[slot, at] == 0]
    assert [len(part) for part in row.parts(row.entering)] == [6, 9]


def test_batches_are_equal():
    assert [divide(256, threads) for threads in (1, 2, 3, 4, 6)] == [1, 2, 2, 4, 4]
    assert divide(7, 4) == 1 and divide(2, 8) == 2 and EVEN == 4


def test_a_local_layer_looks_back_a_window():
    row = make_row(examples([5, 12, 3, 7, 4], shared=2))
    layout, longest = row.layout, row.layout.slots.shape[1]
    mask = layout.mask_within(3, row.positions)
    for numbers in row.parts(np.arange(len(row.tokens))):
        for i, token in enumerate(numbers):
            slot, at = divmod(int(layout.places[token]), longest)
            assert sorted(layout.keys[slot, mask[slot, at] == 0]) == sorted(numbers[max(0, i - 2) : i + 1])
    assert layout.mask_within(0, row.positions) is layout.mask is layout.mask_within(12, row.positions)


def test_padding_attends_to_itself_alone():
    layout = make_row(examples([6, 4])).layout
    used = set(layout.places.tolist())
    for place in set(range(layout.slots.size)) - used:
        slot, at = divmod(place, layout.slots.shape[1])
        assert np.flatnonzero(layout.mask[slot, at] == 0).tolist() == [1 + at]


def test_what_is_shared_carries_no_label_and_leaves_each_set_a_token():
    sets = examples([9, 6], shared=4)
    assert shared_beginning(sets) == 4 and shared_beginning(sets[:1]) == 0
    sets[0].labels[2] = 7
    assert shared_beginning(sets) == 2
    twins = [example(6, shared=6)] * 2
    assert shared_beginning(twins) == 5


def test_nobody_looks_at_the_first_column():
    layout = make_row(examples([9, 6, 7], shared=4)).layout
    assert (layout.mask[:, :, 0] == MASKED).all()


def test_a_row_without_labels_is_refused():
    blank = Example(np.arange(4, dtype=np.int32), np.full(4, IGNORED, np.int32))
    with pytest.raises(UsageError, match="none of the 4 tokens"):
        make_row([blank])
