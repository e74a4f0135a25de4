import pytest
from idletune.state.event_log import EVENTS_KEPT, events, log
from idletune.state.store import Store


@pytest.fixture
def store(home):
    with Store(home, clock=lambda: 1000.0) as opened:
        yield opened


def test_events_newest_first_and_by_kind(store):
    log(store, "trained", version=1, loss=3.5)
    log(store, "promoted", version=1)
    assert [(event.kind, event.at) for event in events(store)] == [("promoted", 1000.0), ("trained", 1000.0)]
    assert [event.detail for event in events(store, kind="trained")] == [{"version": 1, "loss": 3.5}]
    assert len(events(store, limit=1)) == 1


def test_the_event_log_is_capped(store):
    with store.transaction():
        for number in range(EVENTS_KEPT + 3):
            log(store, "tick", number=number)
    found = events(store, limit=2 * EVENTS_KEPT)
    assert len(found) == EVENTS_KEPT and found[-1].detail == {"number": 3}


@pytest.mark.parametrize("damage", ["detail = '{'", "detail = '[]'", "at = -1", "at = 1e12"])
def test_a_damaged_event_is_left_out(store, damage):
    log(store, "trained")
    with store.transaction() as db:
        db.execute(f"UPDATE events SET {damage}")
    assert events(store) == []
