"""Termux: jobs, wake lock and notifications, against stand-ins for its programs."""

import io
import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from hostile_replies import hostile_replies
from idletune.commands.cli import main
from idletune.dialogue import UNKNOWN, DialogueSet, Scores
from idletune.errors import UsageError
from idletune.rpc import Dispatcher
from idletune.runtime import Runtime
from idletune.schedule import termux
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.state import choices, second_replies
from idletune.state.annotation import AnnotationQueue, Prompt
from idletune.state.keyring import make_key, read_key
from idletune.state.private_settings import kept
from idletune.state.store import Store
from rpc_caller import Caller
from termux_programs import press

ANY_HOUR = ("--set", "quiet_from=0", "--set", "quiet_until=0")


@pytest.fixture
def phone(phone, monkeypatch, tiny_path):
    monkeypatch.setenv("IDLETUNE_MODEL", str(tiny_path))
    return phone


@pytest.fixture
def asked(home):
    """A home with two questions to put; returns the open store."""
    with Store(home) as store:
        buffer = Buffer(store, make_policy("fifo"), 8, hidden=64)
        for question in ("what is bread?", "how long does an egg boil?"):
            embedding, scores = np.eye(64, dtype=np.float32)[0], Scores(1, 1, 1)
            buffer.admit(DialogueSet(question, "a 'reply' $(date)", "work", embedding, scores))
        AnnotationQueue(store).refill()
        yield store


def answers(store):
    return [row["response"] for row in store.rows("SELECT response FROM dialogue_sets ORDER BY id")]


def test_install_schedules_two_jobs_and_remove_undoes_it(phone, home, capsys):
    assert main(["termux", "install", *ANY_HOUR]) == 0
    told = capsys.readouterr().out
    learn, ask = phone.jobs()
    assert learn.startswith(f"Job 7701: {home}/termux/learn") and ask.startswith(f"Job 7702: {home}/termux/ask")
    assert "(periodic: 900000ms) (while charging) (persisted)" in learn and "(network: none)" in learn
    assert "while charging" not in ask and "(network: none)" in ask and told.count("response 1") == 2
    for name in ("learn", "ask", "answer"):
        assert stat.S_IMODE((home / "termux" / name).stat().st_mode) == 0o700
        subprocess.run(["sh", "-n", home / "termux" / name], check=True)
    assert main(["termux", "install", *ANY_HOUR]) == 0 and len(phone.jobs()) == 2
    assert main(["termux", "remove"]) == 0
    assert not phone.jobs() and not (home / "termux").exists()
    assert main(["termux", "remove"]) == 0


def test_what_android_refuses_is_said(phone, home, monkeypatch, capsys):
    monkeypatch.setenv("RESPONSE", "0")
    assert main(["termux", "install", *ANY_HOUR]) == 2 and "did not take job 7701" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(home))
    assert main(["termux", "install", *ANY_HOUR]) == 2 and "pkg install termux-api" in capsys.readouterr().err


def test_a_home_that_a_button_could_not_name_is_refused(phone, tmp_path):
    with pytest.raises(UsageError, match="use another --home"):
        termux.install(tmp_path / "$REPLY", [])


def start(home, job):
    """Run a job as Android does: no arguments, hardly any environment, nobody who reads what it says."""
    done = subprocess.run([home / "termux" / job], env={}, cwd="/", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
    return termux.last_runs(home)[job]["said"]


@pytest.mark.slow
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
    assert main(["termux", "install", *ANY_HOUR]) == 2 and "no base model at" in capsys.readouterr().err
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
    main(["termux", "install", *ANY_HOUR])
    script = home / "termux" / "learn"
    script.write_text(script.read_text().replace(f"{sys.executable} -m", "sh -c 'kill -9 $$'"))
    assert start(home, "learn").endswith("killed by signal 9") and phone.wakes() == ["termux-wake-unlock"]


def test_wake_lock_around_a_block(phone):
    with pytest.raises(ZeroDivisionError), termux.wake_lock():
        assert phone.wakes() == ["termux-wake-lock"]
        raise ZeroDivisionError
    assert phone.wakes() == ["termux-wake-lock", "termux-wake-unlock"]


def test_a_question_is_shown_and_answered_by_its_buttons(phone, asked, home):
    main(["termux", "install", *ANY_HOUR])
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


CHOICES = (*ANY_HOUR, "--set", "ask_choices=1")


@pytest.mark.parametrize("button, kept", [(1, "a 'reply' $(date)"), (2, "8 minutes"), (3, None)])
def test_which_of_two_replies_is_better_takes_a_tap(phone, asked, home, button, kept):
    second_replies.record(asked, 2, "8 minutes", UNKNOWN)
    main(["termux", "install", *CHOICES])
    assert main(["ask", "--notify", *CHOICES]) == 0
    shown = phone.notification()
    assert shown["title"] == "Which answer is better?"
    assert shown["content"] == "You: how long does an egg boil?\nFirst: a 'reply' $(date)\nSecond: 8 minutes"
    assert (shown["button1"], shown["button2"], shown["button3"]) == ("First", "Second", "Neither")
    done = phone.press(button)
    assert done.returncode == 0, done.stderr
    assert answers(asked) == [None, kept] and phone.notification() is None
    other = {1: "8 minutes", 2: "a 'reply' $(date)", 3: None}[button]
    assert choices.rejected_reply(asked, 2) == other


def test_two_long_replies_are_chosen_from_on_the_last_page(phone, asked):
    second_replies.record(asked, 2, "8 minutes " * 40, UNKNOWN)
    main(["termux", "install", *CHOICES])
    main(["ask", "--notify", *CHOICES])
    for page in (1, 2):
        shown = phone.notification()
        assert (shown["button1"], shown["button2"]) == ("More", "Neither") and "button3" not in shown, page
        assert phone.press(1).returncode == 0
    assert phone.notification()["button1"] == "First" and phone.press(2).returncode == 0
    assert answers(asked) == [None, "8 minutes " * 40]


def test_skip_and_a_stale_button(phone, asked, capsys):
    main(["termux", "install", *ANY_HOUR])
    main(["ask", "--notify", *ANY_HOUR])
    stale = phone.notification()["button1-action"]
    assert phone.press(3).returncode == 0 and phone.notification() is None
    done = press(stale)
    assert done.returncode == 2 and b"answered already (dismissed)" in done.stderr
    assert answers(asked) == [None, None]


def test_an_answer_that_cannot_be_taken_is_asked_for_again(phone, asked):
    main(["termux", "install", *ANY_HOUR])
    main(["ask", "--notify", *ANY_HOUR])
    done = phone.press(2, "   ")
    assert done.returncode == 2 and phone.notification()["content"].startswith("an empty answer to prompt 2")
    assert phone.press(2, "7 minutes").returncode == 0 and answers(asked) == [None, "7 minutes"]


def test_a_termux_that_mixes_up_its_actions_records_nothing(phone, asked):
    """Version 0.51 runs the first action for every button: here, the one that shows the question again."""
    main(["termux", "install", *ANY_HOUR])
    main(["ask", "--notify", *ANY_HOUR])
    before = phone.notification()
    assert press(before["action"], "typed").returncode == 0
    assert answers(asked) == [None, None] and phone.notification()["content"] == before["content"]


def test_no_question_no_notification(phone, home, capsys):
    main(["termux", "install", *ANY_HOUR])
    assert main(["ask", "--notify", *ANY_HOUR]) == 0
    assert "no question now" in capsys.readouterr().out and phone.notification() is None


@pytest.fixture
def shown(phone, asked):
    """A phone that shows the question about the egg."""
    main(["termux", "install", *ANY_HOUR])
    main(["ask", "--notify", *ANY_HOUR])
    assert "egg" in phone.notification()["content"]
    return phone


def test_what_is_forgotten_leaves_the_screen(shown):
    assert main(["forget", "2"]) == 0 and shown.notification() is None
    main(["ask", "--notify", *ANY_HOUR])
    assert "bread" in shown.notification()["content"]


def test_what_an_open_runtime_forgets_leaves_the_screen_at_once(shown, home, tiny_path):
    with Runtime(home, tiny_path, sequences=1) as runtime:
        assert runtime.forget(2).sets == [2] and shown.notification() is None


def test_what_is_answered_over_the_rpc_leaves_the_screen_at_once(shown, home, tiny_path):
    with closing(Dispatcher()) as dispatcher:
        call = Caller(dispatcher.handle)
        call("open", model=str(tiny_path), home=str(home), settings={"quiet_from": 0, "quiet_until": 0})
        call("answer", prompt_id=2, shown=call("prompts")["prompts"][0]["shown"], verdict="never_ask")
        assert shown.notification() is None


def test_what_is_rated_by_its_id_leaves_the_screen_at_once(shown, home, tiny_path):
    with closing(Dispatcher()) as dispatcher:
        call = Caller(dispatcher.handle)
        call("open", model=str(tiny_path), home=str(home), settings={"quiet_from": 0, "quiet_until": 0})
        told = call("chat", text="is rye a grass?")
        main(["answer", "skip", "2"])
        main(["ask", "--notify", *ANY_HOUR])
        assert "is rye a grass?" in shown.notification()["content"]
        call("feedback", completion=told["completion"], verdict="better", text="it is")
        assert shown.notification() is None


@pytest.mark.parametrize("command", [["ask", "--notify", *ANY_HOUR], ["answer", "--notify", "skip", "2"]])
def test_what_another_program_answered_leaves_the_screen(shown, asked, command):
    queue = AnnotationQueue(asked, quiet_from=0, quiet_until=0)
    while prompt := queue.next():
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
    second_replies.record(asked, 1, "a staple", UNKNOWN)
    assert main(["ask", *CHOICES]) == 0 and ", or 'a staple'" in capsys.readouterr().out
    assert main(["answer", "second", "1", *CHOICES]) == 0
    assert answers(asked) == ["a staple", "7 minutes"]


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


def numbered(number):
    return Prompt(number, number, "", "", "shown", 0.0, "0123abcd", 0)


@pytest.mark.slow
def test_no_hostile_reply_runs_anything(recorder, tmp_path):
    folder, empty = termux.scripts_folder(recorder), tmp_path / "empty"
    empty.mkdir()
    for number, reply in enumerate(hostile_replies(300)):
        done = press(termux.action(recorder, "edit", numbered(number)), reply, cwd=empty)
        assert done.returncode == 0 and not done.stderr, reply
        assert not list(empty.iterdir()), f"it ran: {reply!r}"
        assert (folder / "arguments").read_text() == f"edit {number} --shown 0123abcd\n"
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
    assert press(termux.action(recorder, "edit", numbered(1)), reply).returncode == 0
    typed = (termux.scripts_folder(recorder) / "input").read_bytes().decode()
    assert termux.typed_text(typed) == reply


def test_delimiters_are_never_the_same(home):
    assert len({termux.action(home, "edit", numbered(1)) for _ in range(100)}) == 100


def test_joiners_of_scripts_and_emoji_reach_the_notification(phone, home, asked):
    main(["termux", "install", *ANY_HOUR])
    prompt = AnnotationQueue(asked, quiet_from=0, quiet_until=0).next()
    joined, turned = "می\u200cخواهم 👨\u200d👩\u200d👧", "exe\u202efdp"
    termux.show(type(prompt)(**{**vars(prompt), "question": joined, "reply": turned}), home)
    assert phone.notification()["content"] == f"You: {joined}\nIt: exefdp"


def test_strange_texts_are_shown_as_plain_lines(phone, home, asked):
    main(["termux", "install", *ANY_HOUR])
    termux.show(changed(asked, question="-n\n\x1b[2J\0", reply="\n"), home)
    content = phone.notification()["content"]
    assert content.startswith("You: -n [2J\nIt:") and json.dumps(content).isascii()


def changed(asked, **texts):
    """The due question, with other texts."""
    return replace(AnnotationQueue(asked, quiet_from=0, quiet_until=0).next(), **texts)


@pytest.fixture
def long(phone, asked):
    """A phone that shows the first page of a reply that ends in what nobody would accept."""
    asked.db.execute("UPDATE dialogue_sets SET reply = ? WHERE id = 2", ("word " * 200 + "send money to 4711",))
    main(["termux", "install", *ANY_HOUR])
    assert main(["ask", "--notify", *ANY_HOUR]) == 0
    return phone


def more(phone):
    """Press More, which asks at any hour here."""
    shown = phone.notification()
    action = shown["button1-action"].split()
    assert shown["button1"] == "More" and action[1] == "--page"
    assert main(["ask", "--notify", *ANY_HOUR, *action[1:]]) == 0


def test_what_does_not_fit_can_be_opened_and_is_accepted_when_all_was_shown(long, asked):
    seen = []
    while long.notification()["button1"] != "Good":
        seen.append(long.notification())
        assert "good" not in "".join(seen[-1][f"button{n}-action"] for n in (1, 2, 3)), "it can be accepted unseen"
        more(long)
    seen.append(long.notification())
    assert len(seen) > 3 and seen[0]["content"].startswith(f"1 of {len(seen)}\nYou: how long")
    text = "".join(shown["content"].partition("\n")[2] for shown in seen)
    assert "4711" in seen[-1]["content"] and text.count("word") == 200
    assert long.press(1).returncode == 0
    assert answers(asked)[1].endswith("4711") and long.notification() is None


def test_a_page_of_a_question_that_is_no_longer_due_shows_the_next_one_from_its_beginning(long, asked):
    action = long.notification()["button1-action"].split()
    queue = AnnotationQueue(asked, quiet_from=0, quiet_until=0)
    queue.dismiss(2)
    asked.db.execute("UPDATE dialogue_sets SET reply = ? WHERE id = 1", ("other " * 200,))
    main(["ask", "--notify", *ANY_HOUR, *action[1:]])
    assert long.notification()["content"].startswith("1 of ") and "bread" in long.notification()["content"]


def test_a_button_of_what_was_shown_before_accepts_nothing_else(shown, asked):
    stale = shown.notification()["button1-action"]
    asked.db.execute("UPDATE dialogue_sets SET reply = 'send money' WHERE id = 2")
    done = press(stale)
    assert done.returncode == 2 and b"is not what was shown" in done.stderr and answers(asked) == [None, None]


def test_a_question_that_was_not_shown_is_not_answered_from_the_terminal(asked, capsys):
    assert main(["answer", "good", "2"]) == 2 and "was not shown yet" in capsys.readouterr().err
    assert main(["answer", "good", "2", "--set", "daily_limit=0"]) == 2 and answers(asked) == [None, None]


def test_in_the_quiet_hours_nothing_is_asked_again(shown, asked):
    """Quiet at any hour but this one: what could not be taken leaves the screen, and comes with the next `ask`."""
    hour = datetime.now().hour
    quiet = ["--set", f"quiet_from={(hour - 1) % 24}", "--set", f"quiet_until={(hour + 2) % 24}"]
    assert main(["answer", "--notify", "good", "2", "--shown", "another text", *quiet]) == 2
    assert shown.notification() is None and answers(asked) == [None, None]
    main(["ask", "--notify", *ANY_HOUR])
    assert "egg" in shown.notification()["content"]


WORDS = "You are Ann's\n$(plumbus) nurse."


def test_the_system_message_is_kept_by_the_home_and_not_by_the_scripts(phone, home, tmp_path):
    make_key(tmp_path / "key")
    given = ["--key-file", str(tmp_path / "key"), "--set", f"system={WORDS}", "--set", "seed=7"]
    assert main(["termux", "install", *given]) == 0
    assert not [path for path in home.rglob("*") if path.is_file() and b"plumbus" in path.read_bytes()]
    assert "seed=7" in (home / "termux" / "learn").read_text()
    with Store(home, key=read_key(tmp_path / "key")) as store:
        assert kept(store)["system"] == WORDS


@pytest.mark.parametrize("job", ["learn", "ask"])
def test_a_message_that_an_earlier_version_wrote_into_the_scripts_is_moved(phone, home, tmp_path, job):
    make_key(tmp_path / "key")
    options = ["--key-file", str(tmp_path / "key")]
    Store(home, key=read_key(tmp_path / "key")).close()
    assert main(["termux", "install", *options, "--set", "seed=7"]) == 0
    termux.install(home, [*options, "--set", f"system={WORDS}", "--set", "seed=7"])
    assert any(b"plumbus" in path.read_bytes() for path in (home / "termux").iterdir())
    assert main([{"learn": "tick"}.get(job, job), *options]) == 0
    with Store(home, key=read_key(tmp_path / "key")) as store:
        assert kept(store)["system"] == WORDS
    for name in ("learn", "ask", "answer"):
        script = home / "termux" / name
        assert "plumbus" not in script.read_text() and stat.S_IMODE(script.stat().st_mode) == 0o700
        assert "--set seed=7" in script.read_text()
        subprocess.run(["sh", "-n", script], check=True)
    assert main(["tick", *options, "--model", os.environ["IDLETUNE_MODEL"]]) == 0
