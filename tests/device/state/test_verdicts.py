import pytest
from idletune.state import comparisons, verdicts
from idletune.state.store import Store


@pytest.fixture
def store(home):
    with Store(home, clock=lambda: 1000.0) as opened:
        yield opened


def test_the_newest_verdict(store):
    assert verdicts.newest_verdict(store) is None
    verdicts.record_verdict(store, 1, False, True, "look at it")
    verdicts.record_verdict(store, 2, True, False, "better")
    assert verdicts.newest_verdict(store) == verdicts.VerdictRow(2, 1000.0, 2, True, False, "better")


def test_a_dropped_version_is_told_until_the_next_verdict(store):
    assert verdicts.dropped_since_verdict(store) is None
    for version in (3, 2):
        verdicts.record_dropped(store, version, "its file is gone")
        assert verdicts.dropped_since_verdict(store) == verdicts.DroppedRow(1000.0, version, "its file is gone")
    verdicts.record_verdict(store, 4, False, False, "worse")
    assert verdicts.dropped_since_verdict(store) is None
    verdicts.record_dropped(store, 1, "rolled back")
    assert verdicts.dropped_since_verdict(store).version == 1


def test_old_verdicts_go(store, monkeypatch):
    monkeypatch.setattr(verdicts, "KEPT", 2)
    for version in range(1, 5):
        verdicts.record_verdict(store, version, True, False, "better")
        verdicts.record_dropped(store, version, "rolled back")
    for table in ("verdicts", "dropped_adapters"):
        assert [row["version"] for row in store.rows(f"SELECT version FROM {table} ORDER BY id")] == [3, 4]


def test_the_sets_of_the_last_comparison(store):
    assert comparisons.compared_sets(store, 1) == []
    comparisons.record_comparison(store, 1, None, -0.1, 0.02, False, [4, 7])
    assert comparisons.compared_sets(store, 1) == [4, 7] and comparisons.compared_sets(store, 2) == []
    with store.transaction() as db:
        db.execute("UPDATE comparisons SET dialogue_set_ids = '[1'")
    assert comparisons.compared_sets(store, 1) == []
