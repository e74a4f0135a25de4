"""The replay's calendar keeps to the hours in which the user may be asked, in every zone."""

import time
from dataclasses import replace as changed

import pytest
from idletune.dialogue import Exchange
from idletune.errors import UsageError
from idletune.local_time import local_time
from idletune.progress import no_bars
from idletune.replay import Calendar, Replay, replay
from idletune.runtime import Runtime
from idletune.state.annotation import AnnotationQueue
from idletune.state.store import Store
from loop import SETTINGS

pytestmark = pytest.mark.slow

ZONES = ("UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "NST3:30NDT,M3.2.0,M11.1.0", "NPT-5:45", "KIT-14")
EXCHANGES = [Exchange(f"question {i}?", "aaaa aaaa aaaa", "ann") for i in range(100)]


@pytest.fixture(params=ZONES)
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("quiet", [(22, 8), (9, 21), (0, 0), (1, 0), (8, 7), (12, 13)])
@pytest.mark.parametrize("a_day", [1, 10, 40, 500])
def test_no_exchange_falls_into_the_quiet_hours(zone, home, quiet, a_day):
    """Nor do those of one day fall on two, as the daily limit counts; over both changes of the clock."""
    calendar, days = Calendar(), 300
    calendar.keep_to(*quiet)
    moments = []
    for number in sorted({day * a_day + turn for day in range(days) for turn in (0, a_day // 2, a_day - 1)}):
        calendar.at(number, a_day)
        moments.append((number // a_day, calendar()))
    with Store(home) as store:
        queue = AnnotationQueue(store, 5, *quiet)
        assert not any(queue.is_quiet(at) for _, at in moments)
    assert moments == sorted(moments)
    assert len({(day, local_time(at).date()) for day, at in moments}) == days


@pytest.mark.parametrize("changes", [{}, {"quiet_from": 9, "quiet_until": 21}, {"quiet_from": 22, "quiet_until": 8}])
def test_everybody_who_may_be_asked_is(tiny_path, home, changes, monkeypatch):
    """`--per-day 40 --set daily_limit=100` asked 66 of 80; with quiet days, none."""
    settings = changed(SETTINGS, daily_limit=100, reply_tokens=2, **changes)
    monkeypatch.setattr(Replay, "run", Replay.play)
    played = replay(lambda clock: Runtime(home, tiny_path, settings, clock), EXCHANGES, no_bars, 40)
    assert (played.selected, played.asked) == (80, 80)


@pytest.mark.parametrize("limit, a_day", [(0, 10), (4, 100)])
def test_too_few_questions_are_said_before_the_work(tiny_path, home, limit, a_day):
    with Runtime(home, tiny_path, changed(SETTINGS, daily_limit=limit)) as runtime:
        with pytest.raises(UsageError, match=f"{limit} questions a day on .* learning starts at 5"):
            Replay(runtime, Calendar(), EXCHANGES, a_day=a_day, bars=no_bars)
