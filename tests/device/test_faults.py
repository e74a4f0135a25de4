"""Damage, two processes and a jumping clock: refused, repaired or of no effect. (Kills: test_kill.py.)"""

import random
import time
from datetime import datetime

import numpy as np
import pytest
from idletune.clock import EARLIEST, FakeClock
from idletune.dialogue import DialogueSet, Scores
from idletune.learning.adapters import Adapters
from idletune.runtime import Runtime
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.state.annotation import AnnotationQueue
from idletune.state.bins import BIN_BYTES, size_of_embeddings
from idletune.state.event_log import events
from idletune.state.store import Store
from loop import SETTINGS, answer_all, observe
from stops import InTraining

KEY = b"k" * 32


@pytest.fixture
def open_runtime(tiny_path, home):
    def opened(key=None):
        return Runtime(home, tiny_path, SETTINGS, sequences=2, key=key)

    return opened


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("position", [100, -100])
def test_an_adapter_with_one_bit_changed_is_not_served(open_runtime, key, position):
    with open_runtime(key) as runtime:
        observe(runtime, 8)
        answer_all(runtime)
        path = runtime.learn().adapter.path
    flip(path, position)
    with open_runtime(key) as runtime:
        assert runtime.model.adapter is None and not path.exists()
        assert "was changed" in runtime.adapters.get(1).reason


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_damaged_checkpoint_costs_its_training_only(open_runtime, home, key):
    with open_runtime(key) as runtime:
        observe(runtime, 8)
        answer_all(runtime)
        assert not runtime.learn(**InTraining().arguments).finished
        size = (home / "training.npz").stat().st_size
        flip(home / "training.npz", size // 2)
        assert runtime.learn().verdict.promoted
        assert "damaged" in str(events(runtime.store, kind="checkpoint")) or "changed" in str(
            events(runtime.store, kind="checkpoint")
        )


def test_a_second_process_leaves_a_running_gate_alone(open_runtime, monkeypatch):
    add, opened = Adapters.add, []

    def add_while_another_starts(self, *rest, **named):
        candidate = add(self, *rest, **named)
        with open_runtime() as other:
            opened.append(other.status()["adapter"])
        return candidate

    monkeypatch.setattr(Adapters, "add", add_while_another_starts)
    with open_runtime() as learner:
        observe(learner, 8)
        answer_all(learner)
        assert learner.learn().verdict.promoted and opened == [None]


@pytest.mark.slow
def test_a_jumping_clock_loses_nothing_and_asks_no_more(home):
    chance, asked = random.Random(1), {}
    clock = [1_700_000_000.0]
    with Store(home, clock=lambda: clock[0]) as store:
        buffer = Buffer(store, make_policy("fifo"), 400, hidden=4)
        queue = AnnotationQueue(store, daily_limit=2, quiet_from=0, quiet_until=0)
        for number in range(300):
            clock[0] = chance.choice((0.0, 86_400.0 * chance.randrange(20_000), clock[0] + 60, clock[0] - 3600))
            buffer.admit(DialogueSet(f"q{number}", "a", "x", np.ones(4, np.float32), Scores(1, 1, 1)))
            queue.refill()
            if (prompt := queue.next()) is not None:
                day = time.strftime("%Y-%m-%d", time.localtime(prompt.asked_at))
                asked.setdefault(day, set()).add(prompt.id)
                queue.edit(prompt.id, f"answer {number}")
        answers = [s for s in buffer.sets() if s.response]
        assert len(answers) == sum(map(len, asked.values())) > 50
        assert max(map(len, asked.values())) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("jump", [0, 3600, 86_400, 90_000, 7 * 86_400, -86_400, -400 * 86_400, -55 * 365 * 86_400])
@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_that_is_set_frees_no_question(home, jump, restart):
    clock = FakeClock(datetime(2026, 3, 2, 12).timestamp())
    with Store(home, clock=lambda: clock.now().wall) as store:
        queue, asked = _queue_of(store, 20, clock), []

        def ask():
            while (prompt := queue.next()) is not None:
                asked.append(prompt.id)
                queue.dismiss(prompt.id)

        ask()
        assert len(asked) == 2
        clock.advance(60)
        if restart:
            clock.reboot()
        clock.jump(jump)
        clock.advance(60)
        ask()
        assert len(asked) == 2, "it is two minutes later"
        for _ in range(30):
            clock.advance(86_400)
            ask()
        assert (len(asked) > 16) is (clock.now().wall > EARLIEST), "nor does it keep them back, but in 1971"


def test_an_hour_that_cannot_be_asks_nothing(home):
    clock = FakeClock(datetime(2026, 3, 2, 12).timestamp())
    with Store(home, clock=lambda: clock.now().wall) as store:
        queue = _queue_of(store, 3, clock)
        assert queue.next() is not None
        clock.jump(-86_400)
        assert queue.next() is not None, "somebody set the clock"
        clock.reboot()
        clock.jump(-86_400)
        assert queue.next() is None
        clock.advance(86_400)
        assert queue.next() is not None
        clock.jump(-clock.now().wall)
        assert queue.next() is None, "1970"


def _queue_of(store, count, clock):
    buffer = Buffer(store, make_policy("fifo"), 400, hidden=4)
    for number in range(count):
        buffer.admit(DialogueSet(f"q{number}", "a", "x", np.ones(4, np.float32), Scores(1, 1, 1)))
    queue = AnnotationQueue(store, daily_limit=2, quiet_from=0, quiet_until=0, clock=clock)
    queue.refill()
    return queue


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_full_buffer_opens_again(home, key):
    hidden, bins = 960, 128
    rng = np.random.default_rng(0)
    with Store(home, key=key) as store, store.transaction():
        buffer = Buffer(store, make_policy("fifo"), bins, hidden=hidden)
        for number in range(bins):
            vector = rng.standard_normal(hidden).astype(np.float32)
            text = "é" * ((BIN_BYTES - size_of_embeddings(hidden)) // 2 - 20)
            buffer.admit(DialogueSet(f"{number}", text, "x", vector / np.linalg.norm(vector), Scores(1, 1, 1)))
    with Store(home, key=key) as store:
        assert len(Buffer(store, make_policy("fifo"), bins, hidden=hidden).nearest(vector, 3)) == 3
