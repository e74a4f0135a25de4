import numpy as np
import pytest
from idletune.errors import UsageError
from idletune.training.rows import IGNORED, Example, make_row, plan_rows


def example(n, start=0):
    labels = np.arange(n, dtype=np.int32)
    labels[-1] = IGNORED
    return Example(np.arange(start, start + n, dtype=np.int32), labels)


def test_rows_hold_every_set_once_and_stay_short():
    lengths = list(np.random.default_rng(0).integers(1, 90, 60))
    rows = plan_rows(lengths, 128, np.random.default_rng(1).permutation(60))
    assert sorted(i for row in rows for i in row) == list(range(60))
    assert all(sum(lengths[i] for i in row) <= 128 for row in rows)


def test_a_set_longer_than_a_row_gets_its_own():
    assert plan_rows([10, 300, 10], 128, np.arange(3)) == [[0], [1], [2]]


def test_a_token_sees_its_own_set_up_to_itself_and_nothing_else():
    lengths = [5, 12, 3, 7, 1]
    row = make_row([example(n, 100 * i) for i, n in enumerate(lengths)])
    owner = np.repeat(np.arange(5), lengths)
    assert row.slots.reshape(-1)[row.places].tolist() == list(range(28))
    longest = row.slots.shape[1]
    assert longest == 12 and row.slots.shape[0] == 3  # 12; 7+5; 3+1
    for token in range(28):
        slot, at = divmod(int(row.places[token]), longest)
        seen = {int(row.slots[slot, j]) for j in np.flatnonzero(row.mask[slot, at] == 0)}
        assert seen == {t for t in range(28) if owner[t] == owner[token] and t <= token}
    assert row.positions.tolist() == [p for n in lengths for p in range(n)]


def test_padding_attends_to_itself_alone():
    row = make_row([example(6), example(4)])
    used = set(row.places.tolist())
    for place in set(range(row.slots.size)) - used:
        slot, at = divmod(place, row.slots.shape[1])
        assert np.flatnonzero(row.mask[slot, at] == 0).tolist() == [at]


def test_a_row_without_labels_is_refused():
    blank = Example(np.arange(4, dtype=np.int32), np.full(4, IGNORED, np.int32))
    with pytest.raises(UsageError, match="none of the 4 tokens"):
        make_row([blank])
