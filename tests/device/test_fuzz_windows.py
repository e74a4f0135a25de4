from datetime import datetime

from fuzzed_states import fuzzed_states
from idletune.clock import Moment
from idletune.schedule.device_state import DeviceState, parse_state, parse_termux
from idletune.schedule.state_sources import completed
from idletune.schedule.windows import History, WindowPolicy
from idletune.settings import Settings

NIGHT = Moment(datetime(2026, 3, 2, 1, 0).timestamp(), 50_000.0, "boot")
PLENTY = DeviceState(free_memory_mb=4000, free_disk_mb=9000)


def test_no_fuzzed_state_opens_a_window_it_should_not():
    policy, opened = WindowPolicy(Settings()), 0
    for text, termux, may_open in fuzzed_states(3000):
        state = completed(parse_termux(text), PLENTY) if termux else parse_state(text)
        decision = policy.decide(state, NIGHT, History())
        assert decision.open == may_open, text
        opened += decision.open
    assert opened > 300
