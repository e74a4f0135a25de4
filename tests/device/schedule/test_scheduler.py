import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from datetime import datetime

import numpy as np
import pytest
from idletune.clock import FakeClock
from idletune.dialogue import DialogueSet, Scores
from idletune.errors import UsageError
from idletune.learning.outcome import Outcome, SliceOutcome
from idletune.learning.training_runs import TooFewAnswers, count_answers
from idletune.schedule import lock
from idletune.schedule.device_state import DeviceState
from idletune.schedule.lock import is_learning, learner_lock
from idletune.schedule.scheduler import Scheduler, watch
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.settings import Settings
from idletune.state.run_records import begin_run, open_run
from idletune.state.schedule_records import slices
from idletune.state.store import Store

GOOD = DeviceState(True, 80, 30.0, 0, 0.4, True, 2000, 5000)
NIGHT = datetime(2026, 3, 2, 1, 0).timestamp()


class Source:
    def __init__(self):
        self.state, self.reads = GOOD, 0

    def read(self):
        self.reads += 1
        return self.state


@pytest.fixture
def clock():
    return FakeClock(NIGHT)


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def store(home, clock):
    with Store(home, lambda: clock.now().wall) as store:
        yield store


@pytest.fixture
def scheduler(store, source, clock):
    answer(store, 6)
    return Scheduler(store, Settings(), source, clock)


def answer(store, count):
    """Answered sets, as the user and the queue leave them."""
    buffer = Buffer(store, make_policy("fifo"), 64, hidden=4)
    for n in range(len(buffer), len(buffer) + count):  # no two the same
        buffer.admit(DialogueSet(f"q{n}", "r", "work", np.eye(4, dtype=np.float32)[0], Scores(1, 1, 1), response="yes"))


def working(clock, seconds, step=2.0, meanwhile=lambda done: None):
    """A learner that takes so long, in steps."""

    def learn(should_stop):
        done = 0.0
        while done < seconds:
            clock.advance(step)
            done += step
            meanwhile(done)
            if should_stop():
                return SliceOutcome.unfinished("training")
        return SliceOutcome(Outcome.PROMOTED, "promoted: better")

    return learn


def codes(store):
    """Of the decisions that were recorded."""
    return [row["code"] for row in store.rows("SELECT code FROM window_decisions ORDER BY moment_id")]


def test_a_slice_runs_and_is_recorded(scheduler, clock, store):
    tick = scheduler.tick(working(clock, 100))
    assert tick.seconds == 100 and tick.outcome.kind is Outcome.PROMOTED and tick.reason == "promoted: better"
    (past,) = slices(store)
    assert past.seconds == 100 and past.stopped_by is None and past.end.since(past.start) == 100
    assert scheduler.status()["last"]["outcome"] == "promoted: better"


def test_a_slice_ends_within_its_eight_minutes(scheduler, clock):
    tick = scheduler.tick(working(clock, 10_000))
    assert tick.decision.code == "length" and 440 < tick.seconds < 480


@pytest.mark.parametrize(
    "state, code",
    [
        (DeviceState(False, 80, 30.0, 0, 0.4, True, 2000, 5000), "plugged"),
        (DeviceState(), "unknown"),
        (DeviceState(True, 80, 39.0, 0, 0.4, True, 2000, 5000), "temperature"),
        (DeviceState(True, 80, 30.0, 0, 0.4, False, 2000, 5000), "idle"),
    ],
)
def test_a_closing_window_stops_it_at_the_next_look(scheduler, clock, source, state, code):
    def meanwhile(done):
        source.state = state if done >= 60 else GOOD

    tick = scheduler.tick(working(clock, 400, meanwhile=meanwhile))
    assert tick.decision.code == code and 60 <= tick.seconds <= 60 + 5 + 2
    assert tick.outcome.kind is Outcome.UNFINISHED and tick.decision.reason in str(tick)


def test_the_device_is_looked_at_every_few_seconds_only(scheduler, clock, source):
    scheduler.tick(working(clock, 100, step=0.1))
    assert source.reads <= 1 + 100 / 5 + 1


def test_a_clock_that_is_set_stops_the_slice_and_stretches_none(scheduler, clock, store):
    tick = scheduler.tick(working(clock, 10_000, meanwhile=lambda done: clock.jump(-3600) if done == 30 else None))
    assert tick.decision.code == "clock" and tick.seconds < 40
    assert store.row("SELECT moved_seconds FROM clock_jumps")["moved_seconds"] == -3600
    assert scheduler.tick(working(clock, 10)).decision.code == "clock"
    clock.jump(3600)
    assert scheduler.tick(working(clock, 10)).decision.code == "clock"
    clock.advance(601)
    assert scheduler.tick(working(clock, 10)).outcome


def test_only_changes_are_recorded(scheduler, clock, source, store):
    source.state = DeviceState()
    for _ in range(20):
        scheduler.tick(working(clock, 10))
        clock.advance(60)
    assert codes(store) == ["unknown"]
    source.state = GOOD
    scheduler.tick(working(clock, 10))
    assert codes(store) == ["unknown", "open"]


def test_nothing_to_learn_is_a_reason_and_looks_at_no_battery(store, source, clock):
    answer(store, 4)
    scheduler = Scheduler(store, Settings(), source, clock)
    assert "4 new answers; learning starts at 5" in scheduler.tick(working(clock, 10)).decision.reason
    assert source.reads == 0
    answer(store, 1)
    assert scheduler.tick(working(clock, 10)).outcome
    begin_run(store, [1, 2, 3, 4], [5]).finish()
    clock.advance(3600)
    assert scheduler.tick(working(clock, 10)).decision.code == "nothing"
    begin_run(store, [1, 2, 3, 4], [5])
    assert scheduler.tick(working(clock, 10)).outcome


def test_an_open_run_that_lost_its_answers_is_nothing_to_learn(store, source, clock):
    answer(store, 5)
    begin_run(store, [1, 2, 3, 4], [5])
    scheduler = Scheduler(store, Settings(new_answers=1), source, clock)
    assert scheduler.nothing_to_learn() is None
    with store.transaction() as db:
        db.execute("DELETE FROM dialogue_sets WHERE id = 2")
    tick = scheduler.tick(working(clock, 10))
    assert (tick.decision.code, tick.outcome) == ("nothing", None) and "4 answers" in tick.decision.reason


def test_too_few_answers_to_judge_by_are_no_failure(scheduler, clock):
    def refuse(_):
        raise TooFewAnswers("of 6 answers 0 may judge an adapter")

    tick = scheduler.tick(refuse)
    assert (tick.decision.code, tick.outcome, tick.stopped) == ("nothing", None, False)
    assert "not learning: of 6 answers" in str(tick)


@pytest.mark.parametrize("damage", ["[1, 2", "{}", '["1"]', "null"])
def test_a_damaged_run_is_as_if_it_had_never_begun(store, damage):
    answer(store, 5)
    begin_run(store, [1, 2, 3, 4], [5])
    for finished in ("NULL", "1"):
        with store.transaction() as db:
            db.execute(f"UPDATE rounds SET training = ?, finished = {finished}", (damage,))
        assert open_run(store) is None and count_answers(store, 0)[0] == 5


def test_a_killed_slice_counts(scheduler, clock, store):
    def killed(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scheduler.tick(killed)
    with store.transaction() as db:  # as a real kill leaves it
        db.execute("UPDATE slices SET end_id = NULL, seconds = NULL, outcome = NULL")
    history = scheduler.history()
    assert len(history.slices) == 1 and history.slices[0].end is None
    assert scheduler.tick(working(clock, 10)).decision.code == "rest"


def test_a_failure_is_recorded_and_told(scheduler, store):
    def fail(_):
        raise UsageError("no room for the adapter (1 MB)")

    with pytest.raises(UsageError):
        scheduler.tick(fail)
    assert "no room" in slices(store)[0].outcome and not is_learning(store.home)


def test_awake_around_a_slice_only(store, source, clock):
    answer(store, 6)
    calls = []

    @contextmanager
    def awake():
        calls.append("lock")
        yield
        calls.append("unlock")

    scheduler = Scheduler(store, Settings(), source, clock, awake)
    scheduler.tick(working(clock, 10, meanwhile=lambda done: calls.append("work") if done == 2 else None))
    assert calls == ["lock", "work", "unlock"]
    scheduler.tick(working(clock, 10))  # resting
    assert len(calls) == 3


def test_interrupting_ends_the_slice(scheduler, clock):
    steps = []
    scheduler.interrupted = lambda: len(steps) >= 10

    def meanwhile(done):
        steps.append(done)

    assert scheduler.tick(working(clock, 100, meanwhile=meanwhile)).decision.code == "interrupted"


def test_watch_says_what_changes(scheduler, clock, source):
    said, source.state = [], DeviceState()

    def sleep(seconds):
        clock.advance(seconds)
        source.state = GOOD if clock.now().wall > NIGHT + 300 else DeviceState()

    scheduler.interrupted = lambda: clock.now().wall > NIGHT + 900
    watch(scheduler, working(clock, 100), sleep, 60, said.append)
    assert "unknown: plugged" in said[0] and "learned for 100 s" in said[1] and len(said) < 12


def test_watch_goes_on_after_a_failure_and_says_it_once(scheduler, clock, home):
    said, elsewhere = [], ExitStack()
    elsewhere.enter_context(learner_lock(home))

    def sleep(seconds):
        clock.advance(seconds)
        if clock.now().wall > NIGHT + 300:
            elsewhere.close()

    scheduler.interrupted = lambda: clock.now().wall > NIGHT + 500
    watch(scheduler, working(clock, 100), sleep, 60, said.append)
    assert len(said) == 2 and f"process {os.getpid()}) is learning" in said[0] and "learned for 100 s" in said[1], said


def test_a_second_learner_gets_one_clear_line(store):
    code = "import sys; from pathlib import Path; from idletune.schedule.lock import learner_lock\n"
    code += "with learner_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, store.home]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n" and is_learning(store.home)
        with pytest.raises(UsageError, match=rf"process {other.pid}\) is learning"), learner_lock(store.home):
            pass
        other.kill()
    assert not is_learning(store.home)
    with learner_lock(store.home):
        assert (store.home / "learner.lock").read_text() == str(os.getpid())
        assert is_learning(store.home)


def test_the_status_holds_plain_values_only(scheduler, clock):
    scheduler.tick(working(clock, 10))
    last = {"at": clock.now().wall, "seconds": 10.0, "outcome": "promoted: better", "stopped_by": None}
    assert json.loads(json.dumps(scheduler.status()))["last"] == last


def test_a_slice_ends_before_a_step_that_would_take_longer_than_it_was_given(scheduler, clock):
    tick = scheduler.tick(working(clock, 100, step=3.0), seconds=10)
    assert (tick.seconds, tick.stopped, tick.decision.code) == (9.0, True, "length")
    assert tick.decision.reason == "the slice was given 10 seconds"


def test_whoever_asks_a_slice_to_stop_says_why(scheduler, clock):
    asked = []
    learn = working(clock, 100, meanwhile=lambda done: asked.append("the user needs the model" if done >= 6 else ""))
    tick = scheduler.tick(learn, asked=lambda: asked[-1])
    assert (tick.seconds, tick.decision.code, tick.decision.reason) == (6.0, "interrupted", "the user needs the model")
    assert slices(scheduler.store)[-1].stopped_by == "the user needs the model"


def test_one_who_only_looks_keeps_no_learner_out(home, monkeypatch):
    home.mkdir()
    with open(home / "learner.lock", "w") as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)  # what is_learning does
        waits = iter(range(100))  # longer than an instant, as where the machine is busy
        stop_looking = lambda seconds: next(waits) < 99 or fcntl.flock(looked_at, fcntl.LOCK_UN)  # noqa: E731
        monkeypatch.setattr(lock.time, "sleep", stop_looking)
        with learner_lock(home):
            assert is_learning(home)


def test_another_learner_is_not_waited_for(home, monkeypatch):
    home.mkdir()
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: pytest.fail("it waits"))
    with learner_lock(home), pytest.raises(UsageError, match="is learning"), learner_lock(home):
        pass
    with learner_lock(home):
        pass


def test_a_program_that_is_just_being_started_holds_no_lock(home):
    """Until it has become another program, a child of another thread has all files that its parent had."""
    home.mkdir()
    with learner_lock(home):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        assert not is_learning(home)
        with learner_lock(home):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("victim")])
def test_a_lock_that_is_no_file_of_ours_is_refused_at_once(tmp_path, make):
    (tmp_path / "victim").write_text("mine")
    make(tmp_path / "learner.lock")
    assert not is_learning(tmp_path)
    with pytest.raises(UsageError, match="learner.lock"), learner_lock(tmp_path):
        pass
    assert (tmp_path / "victim").read_text() == "mine"
