"""The whole loop on the tiny model: observe, answer, learn, serve, roll back, forget."""

import shutil

import numpy as np
import pytest
from idletune.base_model import Reply
from idletune.chat_loop import ChatLoop
from idletune.errors import DamagedDataError, UsageError
from idletune.runtime import Runtime
from idletune.settings import Settings
from idletune.store import Store

# A random model has no general language to lose, and its loss falls to nearly nothing, where engines differ.
SETTINGS = Settings(
    threads=1, epochs=12, learning_rate=0.01, rank=4, alpha=8, paraphrases=0, quiet_from=0, quiet_until=0,
    probe_tolerance=10.0, daily_limit=100, reply_tokens=12, engine_tolerance=0.3,
)


@pytest.fixture
def open_runtime(tiny_path, tiny_graphs, home):
    def opened(settings=SETTINGS):
        shutil.copytree(tiny_graphs.folder, home / "graphs", dirs_exist_ok=True)
        return Runtime(home, tiny_path, settings, sequences=2)

    return opened


def observe(runtime, count, start=0):
    rng = np.random.default_rng(start)
    for i in range(start, start + count):
        embeddings = rng.standard_normal((6, 64)).astype(np.float32)
        runtime.observe(f"question number {i} about bread", Reply("a reply", [1], embeddings, "end", 4))


def answer_all(runtime, text="aaaa aaaa aaaa"):
    while (prompt := runtime.next_prompt()) is not None:
        runtime.queue.edit(prompt.id, text)


def test_the_loop_learns_serves_and_survives_a_restart(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 15)
        answer_all(runtime)
        report = runtime.learn()
        assert report.finished and report.verdict.promoted, report.verdict.reason
        assert (report.trained_sets, report.held_out_sets) == (12, 3)
        assert runtime.model.adapter == report.adapter.path
        assert report.evidence.engine_adapted < 0.8 * report.evidence.engine_base
        status = runtime.status()
        assert status["adapter"]["version"] == 1 and status["answered"] == {"sets": 15, "not_yet_learned": 0}
    with open_runtime() as runtime:
        assert runtime.model.adapter == runtime.adapters.current().path
        assert runtime.rollback() is None and runtime.model.adapter is None


def test_a_stopped_training_goes_on_where_it_stood(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 12)
        answer_all(runtime)
        looks = iter(range(1000))
        part = runtime.learn(should_stop=lambda: next(looks) >= 3)
        assert not part.finished and part.verdict is None and len(part.losses) == 4
    with open_runtime() as runtime:
        rest = runtime.learn()
        assert rest.finished and runtime.model.adapter is not None


def test_the_gate_keeps_what_does_not_help(open_runtime):
    with open_runtime(Settings(**{**vars(SETTINGS), "probe_tolerance": 0.0, "learning_rate": 0.05})) as runtime:
        observe(runtime, 10)
        answer_all(runtime)
        report = runtime.learn()
        assert not report.verdict.promoted and runtime.model.adapter is None
        assert not list(runtime.adapters.folder.iterdir())
        assert runtime.status()["answered"]["not_yet_learned"] == 10


def test_forgetting_a_set_takes_the_adapter_with_it(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 10)
        answer_all(runtime, "my secret is plumbus plumbus")
        runtime.learn()
        forgotten = runtime.buffer.sets()[0].id
        assert runtime.forget(forgotten) == [1] and runtime.model.adapter is None
        with pytest.raises(UsageError):
            runtime.buffer.get(forgotten)


def test_a_damaged_adapter_is_not_served(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 10)
        answer_all(runtime)
        path = runtime.learn().adapter.path
    path.write_bytes(path.read_bytes()[:1000])
    with open_runtime() as runtime:
        assert runtime.model.adapter is None and runtime.adapters.current() is None
        assert runtime.chat("still there?") is not None


def test_too_few_answers_is_said(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 3)
        answer_all(runtime)
        with pytest.raises(UsageError, match="3 answered dialogue sets; learning starts at 5"):
            runtime.learn()


def test_state_of_a_newer_version_is_refused(open_runtime, home):
    with Store(home) as store, store.transaction() as db:
        db.execute(f"INSERT INTO {migrations_table(store)} VALUES ('m999_future', 0)")
    with pytest.raises(DamagedDataError, match="newer version"):
        open_runtime()


def migrations_table(store) -> str:
    return store.row("SELECT name FROM sqlite_master WHERE name LIKE '%migrations' AND type = 'table'")["name"]


def test_the_terminal_conversation(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 2)
        lines = iter(["hello bread", "y", "oven?", "n", "240 degrees", "/sets", "/status", "/train", "/forget x",
                      "/forget 99", "/rollback", "/dance", "/new", "/help", "/quit"])
        said = []
        ChatLoop(runtime, read=lambda _: next(lines), write=said.append).run()
        answers = sorted(s.response for s in runtime.buffer.sets() if s.response is not None)
    assert len(answers) == 2 and "240 degrees" in answers
    text = "".join(said)
    for expected in ("learning starts at 5", "/forget takes the number", "no dialogue set 99", "nothing to roll back",
                     "no command /dance", "the base model alone", "question number"):
        assert expected in text
