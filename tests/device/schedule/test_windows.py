from dataclasses import replace
from datetime import datetime

import pytest
from idletune.clock import Moment
from idletune.errors import UsageError
from idletune.schedule.device_state import DeviceState
from idletune.schedule.windows import History, Slice, WindowPolicy
from idletune.settings import Settings

GOOD = DeviceState(True, 80, 30.0, 0, 0.4, True, 2000, 5000)
NIGHT = Moment(datetime(2026, 3, 2, 1, 0).timestamp(), 50_000.0, "boot")


def decide(state=GOOD, now=NIGHT, history=None, **settings):
    return WindowPolicy(Settings(**settings)).decide(state, now, history or History())


def later(seconds, wall=None):
    return NIGHT._replace(uptime=NIGHT.uptime + seconds, wall=NIGHT.wall + (seconds if wall is None else wall))


def test_a_good_night_opens():
    assert decide().open and "plugged in" in decide().reason


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"plugged": False}, "plugged"),
        ({"percentage": 39}, "percentage"),
        ({"temperature_c": 38.1}, "temperature"),
        ({"thermal_status": 3}, "thermal"),
        ({"thermal_headroom": 1.0}, "thermal"),
        ({"idle": False}, "idle"),
        ({"free_memory_mb": 390}, "memory"),
        ({"free_disk_mb": 199}, "disk"),
    ],
)
def test_each_condition_closes_it(changes, code):
    assert decide(replace(GOOD, **changes)).code == code


@pytest.mark.parametrize("field", ["plugged", "percentage", "temperature_c", "free_memory_mb", "free_disk_mb"])
def test_what_it_needs_to_know_and_does_not_closes_it(field):
    decision = decide(replace(GOOD, **{field: None}))
    assert decision.code == "unknown" and field in decision.reason


def test_what_is_asked_for_where_known():
    assert decide(replace(GOOD, idle=None, thermal_status=None, thermal_headroom=None)).open
    assert decide(replace(GOOD, idle=None), window_needs="plugged,idle").code == "unknown"
    with pytest.raises(UsageError, match="names 'colour'"):
        decide(window_needs="colour")


@pytest.mark.parametrize("hour, open", [(21, False), (22, True), (0, True), (7, True), (8, False), (15, False)])
def test_only_in_its_hours(hour, open):
    now = NIGHT._replace(wall=datetime(2026, 3, 2, hour, 30).timestamp())
    assert decide(now=now).open is open
    assert decide(now=now, window_from=0, window_until=0).open


def test_heat_and_charge_have_to_come_back_some_way():
    hot = History(code="temperature")
    assert decide(replace(GOOD, temperature_c=37.5)).open
    assert decide(replace(GOOD, temperature_c=37.5), history=hot).code == "temperature"
    assert decide(replace(GOOD, temperature_c=36.0), history=hot).open
    assert decide(replace(GOOD, percentage=41), history=History(code="percentage")).code == "percentage"
    assert decide(replace(GOOD, percentage=100), history=History(code="percentage"), window_percentage=99.0).open


def test_the_trainers_own_memory_does_not_close_it():
    assert decide(replace(GOOD, free_memory_mb=150), history=History(running=Slice(NIGHT))).open
    assert decide(replace(GOOD, free_memory_mb=90), history=History(running=Slice(NIGHT))).code == "memory"


def test_a_slice_has_its_length_by_uptime_whatever_the_clock_says():
    running = History(running=Slice(NIGHT))
    assert decide(now=later(464), history=running).open
    assert decide(now=later(466), history=running).code == "length"
    assert decide(now=later(466, wall=-3600), history=running).code == "length"
    assert decide(now=later(-1), history=running).code == "length"


def test_slices_a_day_and_rest():
    past = [Slice(later(-3600 * n), later(-3600 * n + 400)) for n in range(5, 0, -1)]
    assert decide(history=History(slices=past)).open
    assert decide(history=History(slices=past), slices_a_day=5).code == "slices"
    assert decide(history=History(slices=past), slices_a_day=0).code == "slices"
    assert decide(now=later(-3600 + 430), history=History(slices=past)).code == "rest"
    killed = [Slice(later(-30))]
    assert decide(history=History(slices=killed)).code == "rest"


def test_setting_the_clock_frees_no_slice_and_opens_nothing():
    past = History(slices=[Slice(later(-3600 * n), later(-3600 * n + 400)) for n in range(12, 0, -1)])
    tomorrow = later(0, wall=86_400)
    assert decide(now=tomorrow, history=past).code == "slices"
    day = NIGHT._replace(wall=datetime(2026, 3, 2, 13, 0).timestamp())
    moved = day._replace(wall=NIGHT.wall + 86_400, uptime=day.uptime + 60)
    assert decide(now=moved, history=History(seen=day)).code == "clock"
    assert decide(now=later(300), history=History(jumped=NIGHT, seen=NIGHT)).code == "clock"
    assert decide(now=later(601), history=History(jumped=NIGHT, seen=NIGHT)).open
    assert decide(now=later(9e5), history=History(seen=NIGHT)).code == "hours"  # ten quiet days are no jump


def test_over_a_restart_the_wall_clock_counts():
    past = History(slices=[Slice(later(-3600 * n), later(-3600 * n + 400)) for n in range(12, 0, -1)], seen=NIGHT)
    after = Moment(NIGHT.wall + 600, 30.0, "next boot")
    assert decide(now=after, history=past).code == "slices"
    by_noon = after._replace(wall=NIGHT.wall + 86_400, uptime=12 * 3600.0)
    assert decide(now=by_noon, history=past).open


def test_a_clock_that_was_set_over_a_restart_frees_no_slice():
    """Nobody can tell how long the device was off: half a day of it is believed."""
    past = History(slices=[Slice(later(-700 * n), later(-700 * n + 400)) for n in range(12, 0, -1)], seen=NIGHT)
    for days in (1, 3, 400):
        after = Moment(NIGHT.wall + days * 86_400, 900.0, "next boot")
        assert decide(now=after, history=past).code == "slices"
    assert decide(now=Moment(NIGHT.wall + 86_400, 12 * 3600.0, "next boot"), history=past).open


@pytest.mark.parametrize("shown", [datetime(1970, 1, 2, 1), datetime(2025, 3, 2, 1), datetime(2026, 3, 1, 1)])
def test_an_hour_that_cannot_be_is_unknown_and_opens_nothing(shown):
    past = History(seen=NIGHT)
    after = Moment(shown.timestamp(), 3600.0, "next boot")
    assert decide(now=after, history=past).code == "clock"
    held = after._replace(uptime=86_401.0)  # a boot of a day: it was the clock before that was wrong
    assert decide(now=held, history=past).code == ("clock" if shown.year == 1970 else "open")


def test_restarts_every_evening_leave_every_night_its_slices():
    """As some phones do by themselves; each boot counts, so that old slices do not stay young for ever."""
    moments, slices = [], []
    for day in range(5):
        boot, start = f"boot {day}", NIGHT.wall + day * 86_400 - 4 * 3600  # at 21:00
        began = [Moment(start + 2 * 3600 + 700 * n, 2 * 3600.0 + 700 * n, boot) for n in range(12)]
        history = History(slices=slices, moments=moments)
        assert decide(now=began[0]._replace(wall=start + 10 * 3600, uptime=10 * 3600.0), history=history).open, day
        slices = [*slices, *map(Slice, began)]
        moments = [*moments, *began, Moment(start + 11 * 3600, 11 * 3600.0, boot)]  # the window closes at 8:00
