"""A simulated month keeps the promises; they are checked against the phone's true states, not the policy's word."""

from collections import Counter
from datetime import datetime

import pytest
from idletune.commands.cli import main
from idletune.settings import Settings
from idletune.simulation.simulation import STEP_SECONDS, Simulation, Work, simulate

LATE = Settings().poll_seconds + 2 * STEP_SECONDS  # seconds a slice may outlast its window: a look, and a step


def permitted(at, state) -> bool:
    hour = datetime.fromtimestamp(at).hour
    return (
        (hour >= 22 or hour < 8)
        and state.plugged is True
        and state.idle is True
        and 40 <= (state.percentage or 0)
        and (99 if state.temperature_c is None else state.temperature_c) <= 38
        and state.thermal_status < 3
        and state.free_memory_mb > 200
        and state.free_disk_mb > 200
    )


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.slow
def test_a_month_keeps_its_promises(tmp_path, seed):
    month = simulate(tmp_path, 30, seed)
    assert month.slices and all(record.seconds <= 480 for record in month.slices)
    for record in month.slices:
        states = [(at, state) for at, state in month.trace if record.start < at <= record.end]
        assert states and permitted(*states[0])
        against = [at for at, state in states if not permitted(at, state)]
        assert not against or record.end - against[0] <= LATE, (record, against[0])
    a_day = Counter(datetime.fromtimestamp(at).date() for at in month.asked)
    assert max(a_day.values()) <= 5 and all(8 <= datetime.fromtimestamp(at).hour < 22 for at in month.asked)
    assert month.promoted
    ended = Counter(record.stopped_by for record in month.slices)
    assert ended["length"] and ended[""] and len(ended) > 2, "nothing was interrupted, so nothing was shown"


@pytest.mark.slow
def test_a_night_takes_as_long_as_the_work_that_was_measured(tmp_path):
    answers, training, gate = 60, 3.0, 40.0

    def seconds(name, **more):
        life = Simulation(tmp_path / name, 9, 1, work=Work(0, training, gate, **more))
        life.answer_at_once(answers)
        (slice,) = life.run(lambda result: bool(result.promoted or result.rejected)).slices
        return slice.seconds

    plain = seconds("plain")
    assert answers * training + gate <= plain <= answers * training + gate + LATE
    # The first 100 seconds of training do the work of 50.
    assert seconds("first epoch", first_epoch=100, first_epoch_share=0.5) == plain + 50


@pytest.mark.slow
def test_the_same_seed_gives_the_same_month(tmp_path):
    first, second = simulate(tmp_path / "a", 4, 3), simulate(tmp_path / "b", 4, 3)
    assert first == second and first != simulate(tmp_path / "c", 4, 4)


@pytest.mark.slow
def test_the_command_prints_and_draws(tmp_path, capsys):
    picture = tmp_path / "month.png"
    assert main(["simulate", "--days", "3", "--seed", "1", "--picture", str(picture)]) == 0
    told = capsys.readouterr().out
    assert "3 days, seed 1" in told and "slices" in told
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_policy_can_be_changed(tmp_path):
    shut = simulate(tmp_path, 5, 1, Settings(slices_a_day=0))
    assert not shut.slices and set(shut.reasons) <= {"nothing", "slices", "hours", "plugged", "unknown", "idle"}


@pytest.mark.parametrize("policy", ["recent_diverse", "fifo"])
@pytest.mark.slow
def test_a_full_buffer_keeps_the_answers(tmp_path, policy):
    month = simulate(tmp_path, 30, 1, Settings(policy=policy, buffer_capacity=32))
    assert month.answered > 40 and month.held >= 30
