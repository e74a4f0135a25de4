"""The whole loop on the tiny model: observe, answer, learn, serve, roll back, forget."""

import os
import signal
from contextlib import contextmanager, nullcontext
from unittest.mock import Mock

import pytest
from idletune.commands import chat_loop
from idletune.commands.chat_loop import ChatLoop
from idletune.errors import DamagedDataError, UsageError
from idletune.examples import IGNORE_INDEX
from idletune.model.reply import Reply
from idletune.settings import Settings
from idletune.state.run_records import begin_run, open_run
from idletune.state.store import Store
from loop import SETTINGS, answer_all, observe, open_tiny_runtime


@pytest.fixture
def open_runtime(tiny_path, home):
    return open_tiny_runtime(tiny_path, home)


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
        assert status["adapter"]["version"] == 1 and status["answered"] == {
            "sets": 15,
            "accepted": 0,
            "not_yet_learned": 0,
        }
    with open_runtime() as runtime:
        assert runtime.model.adapter == runtime.adapters.current().path
        assert runtime.rollback() is None and runtime.model.adapter is None


def test_a_stopped_training_goes_on_where_it_stood(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 12)
        answer_all(runtime)
        done = {}
        part = runtime.learn(should_stop=lambda: done.get("training", 0) >= 4, bars=watched(done))
        assert not part.finished and part.verdict is None and len(part.losses) == 4
    with open_runtime() as runtime:
        rest = runtime.learn()
        assert rest.finished and runtime.model.adapter is not None


def test_the_wording_of_questions_is_learned_where_that_is_set(open_runtime, tmp_path):
    losses = {}
    for learned in (False, True):
        settings = Settings(**{**vars(SETTINGS), "train_on_questions": learned})
        with open_runtime(settings, tmp_path / str(learned)) as runtime:
            observe(runtime, 10)
            answer_all(runtime)
            assert runtime.learn().verdict.promoted
            example = runtime.model.encode_exchange("question number 77 about bread", "a", train_on_question=True)
            example.labels[-3:] = IGNORE_INDEX  # the answer
            total, count = runtime.model.negative_log_likelihood([example])
            losses[learned] = total / count
    assert losses[True] < 0.7 * losses[False]


def watched(done):
    """Progress bars that note how far each has come."""

    @contextmanager
    def bars(label, total):
        yield lambda n, note="": done.update({label: n})

    return bars


def test_the_gate_keeps_what_does_not_help(open_runtime):
    with open_runtime(Settings(**{**vars(SETTINGS), "learning_rate": 0.0})) as runtime:
        observe(runtime, 10)
        answer_all(runtime)
        report = runtime.learn()
        assert not report.verdict.promoted and runtime.model.adapter is None
        assert not list(runtime.adapters.folder.iterdir())
        assert runtime.status()["answered"]["not_yet_learned"] == 10


def test_one_answer_at_least_is_held_out(open_runtime):
    with open_runtime(Settings(**{**vars(SETTINGS), "held_out_share": 0.0})) as runtime:
        observe(runtime, 10)
        answer_all(runtime)
        begin_run(runtime.store, [s.id for s in runtime.buffer.sets()], [])  # as earlier versions did
        report = runtime.learn()
        assert report.finished and (report.trained_sets, report.held_out_sets) == (9, 1)


@pytest.mark.parametrize(
    "left, said",
    [("learned", "0 may judge an adapter and 8 train it"), ("held out", "5 may judge an adapter and 0 train it")],
)
def test_answers_of_one_side_alone_are_too_few(open_runtime, left, said):
    with open_runtime(Settings(**{**vars(SETTINGS), "held_out_share": 0.5})) as runtime:
        observe(runtime, 10 if left == "held out" else 16)
        answer_all(runtime)
        assert runtime.learn().verdict.promoted
        for kept in runtime.buffer.sets():  # the policy may replace what was learned from
            if kept.tags["held_out"] != (left == "held out"):
                runtime.buffer.remove(kept.id)
        with pytest.raises(UsageError, match=said):
            runtime.learn()
        assert open_run(runtime.store) is None


def test_forgetting_a_set_takes_the_adapter_with_it(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 10)
        answer_all(runtime, "secret plumbus plumbus")
        runtime.learn()
        forgotten = runtime.buffer.sets()[0].id
        assert runtime.forget(forgotten).dropped == [1] and runtime.model.adapter is None
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
        lines = iter(
            [
                "hello bread",
                "/good",
                "oven?",
                "/better",
                "240 degrees",
                "oven?",
                "/better  flour\nand water ",
                "/good",
                "/sets",
                "/status",
                "/train",
                "/forget x",
                "/forget 99",
                "/rollback",
                "/dance",
                "/new",
                "/help",
                "/quit",
            ]
        )
        said = []
        ChatLoop(runtime, read=lambda _: next(lines), write=said.append).run()
        answers = sorted(s.response for s in runtime.buffer.sets() if s.response is not None)
    assert len(answers) == 3 and {"240 degrees", "flour\nand water"} < set(answers)
    text = "".join(said)
    for expected in (
        "learning starts at 5",
        "/forget takes the number",
        "no dialogue set 99",
        "nothing to roll back",
        "no command /dance",
        "no question is open",
        "the base model alone",
        "question number",
    ):
        assert expected in text


PASTED = "Shorten my list:", "Is it open?", "no", "Is there parking?", "y", "s", "never", "yes"


@pytest.mark.parametrize("typed", [PASTED, ["\n".join(PASTED)], ["/good\nis what I typed"], [" /good"]])
def test_no_message_is_a_verdict(open_runtime, typed):
    with open_runtime() as runtime:
        observe(runtime, 12)
        talk(runtime, *typed)
        assert [turn["content"] for turn in runtime.conversations.of().history[::2]] == [text.strip() for text in typed]
        assert runtime.status()["answered"]["sets"] == 0
        assert not runtime.store.rows("SELECT * FROM prompts WHERE state NOT IN ('pending', 'shown')")


def test_a_verdict_is_about_the_question_right_above(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 2)
        assert "no question is open" in talk(runtime, "/good")
        written = talk(runtime, "hello bread", "/status", "/skip", "/skip", "/never")
        assert written.count("no question is open") == 2
        assert len(runtime.store.rows("SELECT * FROM prompts WHERE state = 'dismissed'")) == 1


@pytest.mark.parametrize("text", ["", "  ", EOFError, KeyboardInterrupt, "/skip", "/quit"])
def test_no_better_answer_is_none(open_runtime, text):
    with open_runtime() as runtime:
        observe(runtime, 2)
        written, typed = [], ["hello bread", "/better", text, "/quit"]
        ChatLoop(runtime, read=Mock(side_effect=typed), write=written.append).run()
        assert runtime.status()["answered"]["sets"] == 0
        assert ("stays open" in "".join(written)) == (text not in ("/skip", "/quit"))


def test_ctrl_c_on_an_empty_line_says_how_to_leave_and_a_second_one_leaves(open_runtime):
    with open_runtime() as runtime:
        for second, left in ((EOFError, nullcontext()), (KeyboardInterrupt, pytest.raises(KeyboardInterrupt))):
            keys, written = Mock(side_effect=[KeyboardInterrupt, second]), []
            with left:
                ChatLoop(runtime, read=keys, write=written.append).run()
            assert written[-1].startswith("Ctrl-D or /quit leaves")


def test_a_reply_moves_no_terminal(open_runtime, monkeypatch):
    with open_runtime() as runtime:

        def chat(message, on_text, **_):
            on_text("a\x1b[2J\x9b\u202eb\n👨\u200d👩")
            return Reply("ab", [], None, "end", 0)

        monkeypatch.setattr(runtime, "chat", chat)
        assert "a[2Jb\n👨\u200d👩" in talk(runtime, "hello")


def test_what_is_said_instead_of_a_verdict_is_the_next_message(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 2)
        talk = ["hello bread", "You know what, that is wrong.", "So what about tomorrow?", "Nice", "Very funny"]
        lines, written = iter([*talk, "/sets", "and now?", "/never", "/quit"]), []
        ChatLoop(runtime, read=lambda _: next(lines), write=written.append).run()
        assert [turn["content"] for turn in runtime.conversations.of().history[::2]] == [*talk, "and now?"]
        assert runtime.status()["answered"]["sets"] == 0
        assert len(runtime.store.rows("SELECT * FROM never_ask")) == 1
    assert "".join(written).count("was this a good answer?") == 6 and "question number 1" in "".join(written)


def test_an_exchange_that_cannot_be_kept_is_answered_and_that_is_told(open_runtime):
    with open_runtime(Settings(**{**vars(SETTINGS), "bin_bytes": 1024, "retrieve": 0, "seed": 3})) as runtime:
        lines, written = iter(["bread " * 120, "/quit"]), []
        ChatLoop(runtime, read=lambda _: next(lines), write=written.append).run()
        assert [turn["role"] for turn in runtime.conversations.of().history] == ["user", "assistant"]
        assert runtime.conversations.of().history[1]["content"] in "".join(written)
        assert "not kept: " in written[-1] and "more than the 1024 bytes of a bin" in written[-1]


def talk(runtime, *lines) -> str:
    """What the terminal shows while these lines are typed."""
    typed, written = iter([*lines, "/quit"]), []
    ChatLoop(runtime, read=lambda _: next(typed), write=written.append).run()
    return "".join(written)


def in_step(label, act):
    """Progress bars that call `act` once, after the second step of the work with this label."""
    acts = [act]

    @contextmanager
    def bars(name, total):
        yield lambda n, note="": acts.pop()() if acts and name == label and n == 2 else None

    return bars


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_keeps_what_was_trained_and_the_conversation(open_runtime, home, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with open_runtime() as runtime:
        observe(runtime, 12)
        answer_all(runtime)
        monkeypatch.setattr(chat_loop, "Progress", in_step("training", press_ctrl_c))
        assert "stopped during training; /train goes on from there" in talk(runtime, "/train")
        assert (home / "training.npz").is_file() and signal.getsignal(signal.SIGINT) == before
        assert "learned: held-out loss fell" in talk(runtime, "/train")


def test_a_set_that_is_forgotten_elsewhere_ends_training_and_not_the_conversation(open_runtime, monkeypatch):
    with open_runtime() as runtime, open_runtime() as other:
        observe(runtime, 12)
        answer_all(runtime)
        forget = in_step("training", lambda: other.forget(runtime.buffer.sets()[0].id))
        monkeypatch.setattr(chat_loop, "Progress", forget)
        assert "a dialogue set was forgotten; /train begins without it" in talk(runtime, "/train")
        assert "learned: held-out loss fell" in talk(runtime, "/train")


def test_ctrl_c_ends_a_reply_and_a_second_one_the_program(open_runtime):
    with open_runtime(Settings(**{**vars(SETTINGS), "reply_tokens": 900, "seed": 3})) as runtime:

        def chat_pressing(times):
            typed, written = iter(["hello bread", "/quit"]), []

            def write(text):
                written.append(text)
                for _ in range(times if len(written) == 4 else 0):  # after some of the reply
                    press_ctrl_c()

            ChatLoop(runtime, read=lambda _: next(typed), write=write).run()
            return written

        assert (
            chat_pressing(1)[-1].strip() == "stopped; nothing of it is kept"
            and runtime.conversations.of().history == []
        )
        with pytest.raises(KeyboardInterrupt):
            chat_pressing(2)
