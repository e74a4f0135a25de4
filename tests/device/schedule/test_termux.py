"""Termux: jobs, wake lock and notifications, against stand-ins for its programs."""

import io
import json
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
from hostile_replies import hostile_replies
from idletune.commands.cli import main
from idletune.dialogue import DialogueSet, Scores
from idletune.errors import UsageError
from idletune.schedule import termux
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.state.annotation import AnnotationQueue
from idletune.state.keyring import make_key
from idletune.state.store import Store
from termux_programs import TermuxPrograms, press

ANY_HOUR = ("--set", "quiet_from=0", "--set", "quiet_until=0")


@pytest.fixture
def phone(tmp_path, monkeypatch, tiny_path):
    phone = TermuxPrograms(tmp_path / "termux")
    monkeypatch.setenv("PATH", f"{phone.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("IDLETUNE_MODEL", str(tiny_path))
    return phone


@pytest.fixture
def asked(home):
    """A home with two questions to put; returns the open store."""
    with Store(home) as store:
        buffer = Buffer(store, make_policy("fifo"), 8, hidden=64)
        for question in ("what is bread?", "how long does an egg boil?"):
            embedding, scores = np.eye(64, dtype=np.float32)[0], Scores(1, 1, 1)
            buffer.offer(DialogueSet(question, "a 'reply' $(date)", "work", embedding, scores))
        AnnotationQueue(store).refill()
        yield store


def answers(store):
    return [row["response"] for row in store.rows("SELECT response FROM dialogue_sets ORDER BY id")]


def test_install_schedules_two_jobs_and_remove_undoes_it(phone, home, capsys):
    assert main(["termux", "install"]) == 0
    told = capsys.readouterr().out
    learn, ask = phone.jobs()
    assert learn.startswith(f"Job 7701: {home}/termux/learn") and ask.startswith(f"Job 7702: {home}/termux/ask")
    assert "(periodic: 900000ms) (while charging) (persisted)" in learn and "(network: none)" in learn
    assert "while charging" not in ask and "(network: none)" in ask and told.count("response 1") == 2
    for name in ("learn", "ask", "answer"):
        assert stat.S_IMODE((home / "termux" / name).stat().st_mode) == 0o700
        subprocess.run(["sh", "-n", home / "termux" / name], check=True)
    assert main(["termux", "install"]) == 0 and len(phone.jobs()) == 2
    assert main(["termux", "remove"]) == 0
    assert not phone.jobs() and not (home / "termux").exists()
    assert main(["termux", "remove"]) == 0


def test_what_android_refuses_is_said(phone, home, monkeypatch, capsys):
    monkeypatch.setenv("RESPONSE", "0")
    assert main(["termux", "install"]) == 2 and "did not take job 7701" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(home))
    assert main(["termux", "install"]) == 2 and "pkg install termux-api" in capsys.readouterr().err


def test_a_home_that_a_button_could_not_name_is_refused(phone, tmp_path):
    with pytest.raises(UsageError, match="use another --home"):
        termux.install(tmp_path / "$REPLY", [])


def start(home, job):
    """Run a job as Android does: no arguments, hardly any environment, nobody who reads what it says."""
    done = subprocess.run([home / "termux" / job], env={}, cwd="/", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
    return termux.last_runs(home)[job]["said"]


def test_the_jobs_go_by_the_options_they_were_installed_with(phone, home, tmp_path, tiny_path, monkeypatch):
    monkeypatch.delenv("IDLETUNE_MODEL")
    monkeypatch.chdir(tmp_path)
    key = make_key(tmp_path / "it's a key")
    options = ["--model", os.path.relpath(tiny_path), "--key-file", "it's a key", "--set", "new_answers=7"]
    assert main(["termux", "install", *options]) == 0
    with Store(home, key=key) as store:
        assert store.encrypted
    assert start(home, "learn") == "not learning: 0 new answers; learning starts at 7"
    assert start(home, "ask") == "no question now" and not phone.wakes()


def test_another_key_is_said_to_want_other_jobs(phone, home, tmp_path, capsys):
    main(["status"])
    main(["rotate-key", "--new-key-file", str(tmp_path / "first")])
    assert "jobs in Termux" not in capsys.readouterr().out
    main(["termux", "install", "--key-file", str(tmp_path / "first")])
    main(["rotate-key", "--key-file", str(tmp_path / "first"), "--new-key-file", str(tmp_path / "second")])
    assert f"idletune termux install --key-file {tmp_path / 'second'}" in capsys.readouterr().out


def test_what_would_not_start_at_night_is_not_installed(phone, home, tmp_path, monkeypatch, capsys):
    assert main(["termux", "install", "--backend", "onnx"]) == 2 and "no base.onnx" in capsys.readouterr().err
    monkeypatch.delenv("IDLETUNE_MODEL")
    monkeypatch.chdir(tmp_path)
    assert main(["termux", "install"]) == 2 and "no base model at" in capsys.readouterr().err
    assert not phone.jobs()


def test_what_a_job_said_last_is_in_the_status(phone, home, tmp_path, tiny_path, capsys):
    model = shutil.copy(tiny_path, tmp_path / "model.gguf")
    main(["termux", "install", "--model", str(model)])
    assert not termux.last_runs(home)
    model.unlink()
    assert "no base model at" in start(home, "learn")
    capsys.readouterr()
    main(["status"])
    page = capsys.readouterr().out
    assert "job learn" in page and "idletune: no base model at" in page and "job ask" not in page


def test_a_killed_job_lets_the_phone_sleep_and_says_so(phone, home):
    main(["termux", "install"])
    script = home / "termux" / "learn"
    script.write_text(script.read_text().replace(f"{sys.executable} -m", "sh -c 'kill -9 $$'"))
    assert start(home, "learn").endswith("killed by signal 9") and phone.wakes() == ["termux-wake-unlock"]


def test_wake_lock_around_a_block(phone):
    with pytest.raises(ZeroDivisionError), termux.wake_lock():
        assert phone.wakes() == ["termux-wake-lock"]
        raise ZeroDivisionError
    assert phone.wakes() == ["termux-wake-lock", "termux-wake-unlock"]


def test_a_question_is_shown_and_answered_by_its_buttons(phone, asked, home):
    main(["termux", "install"])
    assert main(["ask", "--notify", *ANY_HOUR]) == 0
    shown = phone.notification()
    assert shown["content"] == "You: how long does an egg boil?\nIt: a 'reply' $(date)"
    assert (shown["button1"], shown["button2"], shown["button3"]) == ("Good", "Edit", "Skip")
    assert shown["button2-action"].count("$REPLY") == 1
    assert "egg" not in "".join(shown[f"button{n}-action"] for n in (1, 2, 3))
    reply = 'seven "minutes"; $(touch canary) \\" `id`\nand salt'
    done = phone.press(2, reply)
    assert done.returncode == 0, done.stderr
    assert answers(asked) == [None, reply] and phone.notification() is None
    main(["ask", "--notify", *ANY_HOUR])
    assert phone.press(1).returncode == 0
    assert answers(asked) == ["a 'reply' $(date)", reply]
    assert not (home / "canary").exists()


def test_skip_and_a_stale_button(phone, asked, capsys):
    main(["termux", "install"])
    main(["ask", "--notify", *ANY_HOUR])
    stale = phone.notification()["button1-action"]
    assert phone.press(3).returncode == 0 and phone.notification() is None
    done = press(stale)
    assert done.returncode == 2 and b"answered already (dismissed)" in done.stderr
    assert answers(asked) == [None, None]


def test_an_answer_that_cannot_be_taken_is_asked_for_again(phone, asked):
    main(["termux", "install"])
    main(["ask", "--notify", *ANY_HOUR])
    done = phone.press(2, "   ")
    assert done.returncode == 2 and phone.notification()["content"].startswith("an empty answer to prompt 2")
    assert phone.press(2, "7 minutes").returncode == 0 and answers(asked) == [None, "7 minutes"]


def test_a_termux_that_mixes_up_its_actions_records_nothing(phone, asked):
    """Version 0.51 runs the first action for every button: here, the one that shows the question again."""
    main(["termux", "install"])
    main(["ask", "--notify", *ANY_HOUR])
    before = phone.notification()
    assert press(before["action"], "typed").returncode == 0
    assert answers(asked) == [None, None] and phone.notification()["content"] == before["content"]


def test_no_question_no_notification(phone, home, capsys):
    main(["termux", "install"])
    assert main(["ask", "--notify", *ANY_HOUR]) == 0
    assert "no question now" in capsys.readouterr().out and phone.notification() is None


@pytest.fixture
def shown(phone, asked):
    """A phone that shows the question about the egg."""
    main(["termux", "install"])
    main(["ask", "--notify", *ANY_HOUR])
    assert "egg" in phone.notification()["content"]
    return phone


def test_what_is_forgotten_leaves_the_screen(shown):
    assert main(["forget", "2"]) == 0 and shown.notification() is None
    main(["ask", "--notify", *ANY_HOUR])
    assert "bread" in shown.notification()["content"]


@pytest.mark.parametrize("command", [["ask", "--notify", *ANY_HOUR], ["answer", "--notify", "skip", "2"]])
def test_what_another_program_answered_leaves_the_screen(shown, asked, command):
    queue = AnnotationQueue(asked, quiet_from=0, quiet_until=0)
    for prompt in queue.pending():
        queue.dismiss(prompt.id)
    main(command)
    assert shown.notification() is None


def test_what_is_answered_in_a_terminal_or_after_a_chat_leaves_the_screen(shown, monkeypatch):
    assert main(["answer", "skip", "2"]) == 0 and shown.notification() is None
    main(["ask", "--notify", *ANY_HOUR])
    assert shown.notification()
    monkeypatch.setattr(sys, "stdin", io.StringIO("/forget 1\n"))
    assert main(["chat"]) == 0 and shown.notification() is None


def test_erasing_takes_the_jobs_and_the_question_along(shown, home):
    assert main(["erase", "--yes"]) == 0
    assert not shown.jobs() and shown.notification() is None and not home.exists()


def test_a_termux_that_does_not_answer_keeps_nothing_from_being_erased(shown, home, capsys):
    (shown.bin / "termux-job-scheduler").write_text("#!/bin/sh\nexit 1\n")
    assert main(["erase", "--yes"]) == 0 and not home.exists()
    assert "the jobs in Termux are still there (termux-job-scheduler did not work" in capsys.readouterr().out


def test_asking_and_answering_without_notifications(asked, capsys, monkeypatch):
    assert main(["ask", *ANY_HOUR]) == 0
    assert "2: about 'how long does an egg boil?'" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("7 minutes\n".encode())))
    assert main(["answer", "edit", "2"]) == 0 and answers(asked) == [None, "7 minutes"]
    assert main(["answer", "skip", "2"]) == 2 and "answered already" in capsys.readouterr().err


def test_buttons_without_scripts_are_refused(phone, asked, capsys):
    assert main(["ask", "--notify", *ANY_HOUR]) == 2
    assert "termux install first" in capsys.readouterr().err


@pytest.fixture
def recorder(tmp_path):
    """A home whose answer script keeps its arguments and its standard input, quicker than a whole program."""
    home = tmp_path / "it's a home; `touch canary`"
    script = termux.scripts_folder(home) / "answer"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\nfolder=${0%/*}\necho "$@" > "$folder/arguments"\n/bin/cat > "$folder/input"\n')
    script.chmod(0o700)
    return home


def test_no_hostile_reply_runs_anything(recorder, tmp_path):
    folder, empty = termux.scripts_folder(recorder), tmp_path / "empty"
    empty.mkdir()
    for number, reply in enumerate(hostile_replies(300)):
        done = press(termux.action(recorder, "edit", number), reply, cwd=empty)
        assert done.returncode == 0 and not done.stderr, reply
        assert not list(empty.iterdir()), f"it ran: {reply!r}"
        assert (folder / "arguments").read_text() == f"edit {number}\n"
        typed = (folder / "input").read_bytes().decode()
        assert termux.typed_text(typed) == reply


def test_the_hostile_replies_would_run_in_an_unsafe_action(tmp_path):
    """The test above can fail: the obvious action executes most of what it is given."""
    ran = 0
    for number, reply in enumerate(hostile_replies(20)):
        folder = tmp_path / str(number)
        folder.mkdir()
        press("/bin/true $REPLY", reply, cwd=folder)
        ran += (folder / "canary").exists() or any(folder.iterdir())
    assert ran >= 5


@pytest.mark.parametrize("text", ["", "\n", '"', '>"', "plain", '"unmarked"', '>"open', '>open"'])
def test_text_that_is_no_reply_is_refused(text):
    with pytest.raises(UsageError, match="no direct reply"):
        termux.typed_text(text)


@pytest.mark.parametrize("reply", ["", "a\n", "\n", "é", "\né", '\n"é', '\n"\n', ">é", "E\nEé", "x" * 100_000])
def test_every_text_arrives_as_it_was_typed(recorder, reply):
    assert press(termux.action(recorder, "edit", 1), reply).returncode == 0
    typed = (termux.scripts_folder(recorder) / "input").read_bytes().decode()
    assert termux.typed_text(typed) == reply


def test_delimiters_are_never_the_same(home):
    assert len({termux.action(home, "edit", 1) for _ in range(100)}) == 100


def test_long_and_strange_texts_are_shown_as_one_plain_line(phone, home, asked):
    main(["termux", "install"])
    queue = AnnotationQueue(asked, quiet_from=0, quiet_until=0)
    prompt = queue.next()
    strange = type(prompt)(**{**vars(prompt), "question": "-n\n\x1b[2J\0" + "x" * 5000, "reply": "\n"})
    termux.show(strange, home)
    content = phone.notification()["content"]
    assert content.startswith("You: -n [2J xxx") and content.endswith("...\nIt: ") and len(content) < 700
    assert json.dumps(content).isascii()
