"""The zone is read again at each look at the clock: a phone crosses borders while it runs."""

import time

import pytest
from idletune.clock import Moment
from idletune.local_time import is_hour_between, local_time
from idletune.schedule.device_state import DeviceState
from idletune.schedule.windows import History, WindowPolicy
from idletune.settings import Settings
from idletune.state.annotation import AnnotationQueue
from idletune.state.store import Store

NOON_UTC = 1_772_452_800.0  # 2 March 2026, 12:00 UTC


@pytest.fixture
def zone(monkeypatch):
    """Sets TZ, and nothing else: whoever looks at the clock has to read it."""
    monkeypatch.setenv("TZ", "UTC0")
    time.tzset()
    yield lambda name: monkeypatch.setenv("TZ", name)
    monkeypatch.undo()
    time.tzset()


def test_a_change_of_the_zone_holds_at_once(zone):
    assert local_time(NOON_UTC).hour == 12
    zone("HST10")
    assert local_time(NOON_UTC).hour == 2
    zone("NPT-5:45")
    assert (local_time(NOON_UTC).hour, local_time(NOON_UTC).minute) == (17, 45)


def test_quiet_hours_and_the_day_move_with_the_user(zone, home):
    with Store(home, lambda: NOON_UTC) as store:
        queue = AnnotationQueue(store, quiet_from=22, quiet_until=8)
        assert not queue.is_quiet(NOON_UTC)
        zone("HST10")
        assert queue.is_quiet(NOON_UTC)
        zone("KIT-14")
        assert not queue.is_quiet(NOON_UTC + 6 * 3600) and queue.is_quiet(NOON_UTC)


def test_the_window_moves_with_the_user(zone):
    policy, now = WindowPolicy(Settings(window_needs="")), Moment(NOON_UTC, 1000.0, "boot")
    assert policy.decide(DeviceState(), now, History()).code == "hours"
    zone("HST10")
    assert policy.decide(DeviceState(), now, History()).open


@pytest.mark.parametrize("start, end, inside", [(22, 8, [*range(8), 22, 23]), (9, 21, range(9, 21)), (5, 5, [])])
def test_hours_are_counted_around_the_clock(start, end, inside):
    assert [hour for hour in range(24) if is_hour_between(hour, start, end)] == list(inside)
