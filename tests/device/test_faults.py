"""Damage, two processes and a jumping clock: refused, repaired or of no effect. (Kills: test_kill.py.)"""

import random
import shutil
import time

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores
from idletune.runtime import Runtime
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.state.annotation import AnnotationQueue
from idletune.state.store import BIN_BYTES, Store, size_of_embeddings
from loop import SETTINGS, answer_all, observe
from stops import InTraining

KEY = b"k" * 32


@pytest.fixture
def open_runtime(tiny_path, tiny_graphs, home):
    def opened(key=None):
        shutil.copytree(tiny_graphs.folder, home / "graphs", dirs_exist_ok=True)
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
        assert "damaged" in str(runtime.store.events(kind="checkpoint")) or "changed" in str(
            runtime.store.events(kind="checkpoint"))


def test_a_second_process_leaves_a_running_gate_alone(open_runtime):
    with open_runtime() as learner:
        observe(learner, 8)
        answer_all(learner)
        add = learner.adapters.add
        opened = []

        def add_while_another_starts(*arguments):
            candidate = add(*arguments)
            with open_runtime() as other:
                opened.append(other.status()["adapter"])
            return candidate

        learner.adapters.add = add_while_another_starts
        learning = learner._learning
        learner._learning = lambda: _with(learning(), learner.adapters)
        assert learner.learn().verdict.promoted and opened == [None]


def _with(learning, adapters):
    learning.adapters = adapters
    return learning


def test_a_jumping_clock_loses_nothing_and_asks_no_more(home):
    chance, asked = random.Random(1), {}
    clock = [1_700_000_000.0]
    with Store(home, clock=lambda: clock[0]) as store:
        buffer = Buffer(store, make_policy("fifo"), 400, hidden=4)
        queue = AnnotationQueue(store, daily_limit=2, quiet_from=0, quiet_until=0)
        for number in range(300):
            clock[0] = chance.choice((0.0, 86_400.0 * chance.randrange(20_000), clock[0] + 60, clock[0] - 3600))
            buffer.offer(DialogueSet(f"q{number}", "a", "x", np.ones(4, np.float32), Scores(1, 1, 1)))
            queue.refill()
            if (prompt := queue.next()) is not None:
                day = time.strftime("%Y-%m-%d", time.localtime(prompt.asked_at))
                asked.setdefault(day, set()).add(prompt.id)
                queue.edit(prompt.id, f"answer {number}")
        answers = [s for s in buffer.sets() if s.response]
        assert len(answers) == sum(map(len, asked.values())) > 50
        assert max(map(len, asked.values())) <= 2


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_full_buffer_opens_in_under_a_second(home, key):
    hidden, bins = 960, 128
    rng = np.random.default_rng(0)
    with Store(home, key=key) as store, store.transaction():
        buffer = Buffer(store, make_policy("fifo"), bins, hidden=hidden)
        for number in range(bins):
            vector = rng.standard_normal(hidden).astype(np.float32)
            text = "é" * ((BIN_BYTES - size_of_embeddings(hidden)) // 2 - 20)
            buffer.offer(DialogueSet(f"{number}", text, "x", vector / np.linalg.norm(vector), Scores(1, 1, 1)))
    start = time.perf_counter()
    with Store(home, key=key) as store:
        assert len(Buffer(store, make_policy("fifo"), bins, hidden=hidden).nearest(vector, 3)) == 3
    assert time.perf_counter() - start < 1.0
