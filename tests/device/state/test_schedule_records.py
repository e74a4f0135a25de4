"""The scheduler's tables: order by what was recorded, limits on how much is kept, and values that were damaged."""

import pytest
from idletune.clock import Moment
from idletune.state import schedule_records as records
from idletune.state.store import Store


@pytest.fixture
def store(home):
    with Store(home) as opened:
        yield opened


def at(second: float, moved: float = 0.0) -> Moment:
    """So many seconds after the start; the wall clock was `moved`."""
    return Moment(1.8e9 + second + moved, second, "boot")


def test_before_anything_was_recorded(store):
    assert (records.moments(store), records.slices(store), records.last_ended_slice(store)) == ([], [], None)
    assert (records.last_code(store), records.last_jump(store)) == ("", None)


def test_moments_of_all_tables_come_in_the_order_they_were_recorded(store):
    records.record_decision(store, at(1), True, "open", "nothing is against it")
    slice_id = records.begin_slice(store, at(2))
    records.record_jump(store, at(3, -3600), -3600)
    records.record_decision(store, at(4, -3600), False, "clock", "it was moved")
    records.end_slice(store, slice_id, at(5, -3600), 3.0, "training, to be continued", "it was moved")
    assert records.moments(store) == [at(1), at(2), at(3, -3600), at(4, -3600), at(5, -3600)]
    assert (records.last_code(store), records.last_jump(store)) == ("clock", at(3, -3600))
    past = records.SliceRow(at(2), at(5, -3600), 3.0, "training, to be continued", "it was moved")
    assert records.slices(store) == [past] and records.last_ended_slice(store) == past


def test_a_slice_that_was_killed_has_no_end(store):
    records.begin_slice(store, at(1))
    records.end_slice(store, records.begin_slice(store, at(2)), at(3), 1.0, "done", None)
    records.begin_slice(store, at(4))
    assert [past.end for past in records.slices(store)] == [None, at(3), None]
    assert records.last_ended_slice(store).start == at(2)


def test_old_slices_go_and_the_last_decision_and_jump_stay(store, monkeypatch):
    monkeypatch.setattr(records, "MOMENTS_KEPT", 6)
    records.record_decision(store, at(0), False, "plugged", "not plugged in")
    records.record_decision(store, at(1), True, "open", "nothing is against it")
    records.record_jump(store, at(2), 500)
    for number in range(10, 20, 2):
        records.end_slice(store, records.begin_slice(store, at(number)), at(number + 1), 1.0, "done", None)
    assert [past.start for past in records.slices(store)] == [at(14), at(16), at(18)]
    assert (records.last_code(store), records.last_jump(store)) == ("open", at(2))
    assert len(records.moments(store)) == 8
    assert len(store.rows("SELECT * FROM window_decisions")) == 1


@pytest.mark.parametrize("damage", ["wall = 9e999", "uptime = 9e999", "wall = -9e999", "uptime = -5"])
def test_a_damaged_moment_counts_and_stays_a_possible_time(store, damage):
    records.end_slice(store, records.begin_slice(store, at(1)), at(3), 2.0, "done", None)
    with store.transaction() as db:
        db.execute(f"UPDATE moments SET {damage}")
    (past,) = records.slices(store)
    assert all(0 <= value <= 1e11 for value in (*past.start[:2], *past.end[:2]))
