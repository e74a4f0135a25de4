"""Kill the process anywhere: every answer it acknowledged is there, and nothing is half done.

Run as a program, this file is the victim: it observes and answers until it is killed, one line on
standard output for each thing it has been told is safe.
"""

import itertools
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.state.annotation import AnnotationQueue
from idletune.state.store import Store

ROUNDS = 25
CAPACITY, HIDDEN = 256, 16


def open_all(home):
    ticks = itertools.count(1_700_000_000, 60)
    store = Store(home, clock=lambda: float(next(ticks)))
    buffer = Buffer(store, make_policy("fifo"), CAPACITY, hidden=HIDDEN)
    return store, buffer, AnnotationQueue(store, daily_limit=10**9, quiet_from=0, quiet_until=0)


def observe(buffer, number):
    embedding = np.zeros(HIDDEN, np.float32)
    embedding[number % HIDDEN] = 1
    new = DialogueSet(f"question {number}", "reply " * 300, "work", embedding, Scores(0.5, 0.5, number % 7))
    return buffer.admit(new)


def be_killed(home):
    store, buffer, queue = open_all(home)
    while True:
        for _ in range(3):
            observe(buffer, store.counter("seen"))
            print("seen", store.counter("seen"), flush=True)
        queue.refill()
        prompt = queue.next()
        text = f"answer to {prompt.question}"
        id = queue.edit(prompt.id, text)
        print("answer", id, text, flush=True)


def kill_one(home, output, seconds, told):
    """Kill a victim so long after it has told so many things. What it had told."""
    with output.open("wb") as stdout:
        victim = subprocess.Popen([sys.executable, __file__, str(home)], stdout=stdout)
        while output.read_bytes().count(b"\n") < told:
            assert victim.poll() is None, "the victim died by itself"
            time.sleep(0.001)
        time.sleep(seconds)
        assert victim.poll() is None, "the victim died by itself"
        victim.kill()
        victim.wait()
    lines = output.read_text().split("\n")[:-1]  # without a line that was cut short
    answers = dict(line.split(" ", 2)[1:] for line in lines if line.startswith("answer"))
    return answers, [int(line.split()[1]) for line in lines if line.startswith("seen")]


def check(store, buffer, answers, seen):
    """What must hold after any death. Returns the ids of the answered sets not learned from yet."""
    assert store.rows("PRAGMA integrity_check")[0][0] == "ok"
    assert not store.rows("PRAGMA foreign_key_check")
    responses = {str(kept.id): kept.response for kept in buffer.sets()}
    lost = {id: text for id, text in answers.items() if responses.get(id) != text}
    assert not lost, f"acknowledged, and lost: {lost}"
    # fifo keeps every set that is counted, so the ids given out tell whether both went in together
    given_out = store.row("SELECT seq FROM sqlite_sequence WHERE name = 'dialogue_sets'")
    assert store.counter("seen") == (given_out["seq"] if given_out else 0)
    assert store.counter("seen") >= max(seen, default=0)
    assert len(buffer) == min(store.counter("seen"), CAPACITY)
    torn = """SELECT prompts.id FROM prompts JOIN dialogue_sets ON dialogue_sets.id = dialogue_set_id
        WHERE (state = 'edited') != (response IS NOT NULL)"""
    assert not store.rows(torn), "an answer without its prompt, or the other way round"
    return [kept.id for kept in buffer.sets() if kept.response and not kept.tags["learned_in"]]


def learn(store, buffer, ids):
    """Free the bins, so that the next victim has sets to replace."""
    with store.transaction() as db:
        version = db.execute(
            "INSERT INTO adapters (file, base_sha256, created, rank, alpha, targets, state)"
            " VALUES ('a.gguf', 'base', 1, 8, 16, 'q,v', 'candidate')"
        ).lastrowid
        buffer.mark_learned(ids, version)


@pytest.mark.slow
def test_no_acknowledged_answer_is_lost(tmp_path):
    home, chance = tmp_path / "home", random.Random(7)
    answered = replaced = 0
    for round in range(ROUNDS):
        # Every fifth dies young: while it opens, recovers the log or makes the tables. The others at their work.
        young = round % 5 == 0
        told = 0 if young else chance.randrange(1, 60)
        answers, seen = kill_one(home, tmp_path / "output", chance.uniform(0, 0.6 if young else 0.01), told)
        store, buffer, _ = open_all(home)
        with store:
            learn(store, buffer, check(store, buffer, answers, seen))
            replaced = store.counter("seen") - len(buffer)
        answered += len(answers)
    assert answered > 2 * ROUNDS and replaced, "the victims are to answer, and to fill the buffer and replace sets"


if __name__ == "__main__":
    be_killed(sys.argv[1])
