"""What a person types arrives whole: at a real pseudo-terminal, through a pipe, and where there is no input at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from idletune.state.store import Store
from terminal import ALT_ENTER, CTRL_C, CTRL_D, ENTER, LEFT, UP, Terminal, pasted

pytestmark = pytest.mark.slow

# Reads until the end of input and tells each text as a line of JSON; without prompt_toolkit where it is told so.
PROGRAM = """
import json, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
if "without" in sys.argv: sys.modules["prompt_toolkit"] = None
from idletune.commands.typed_text import held_input, make_reader
read = make_reader()
while True:
    try:
        text = read("> ")
    except KeyboardInterrupt:
        text = "INTERRUPT"
    except EOFError:
        break
    print("\\nGOT " + json.dumps(text) + " END", flush=True)
    if text == "wait":
        with held_input():
            print("BUSY", flush=True)
            signal.sigwait({signal.SIGUSR1})
"""


@pytest.fixture(params=["with prompt_toolkit", "without"])
def person(request, tmp_path):
    """A terminal with PROGRAM, and a function that types and returns the text that arrived."""
    if request.param != "without":
        pytest.importorskip("prompt_toolkit")
    elif getattr(pytest.importorskip("readline"), "_READLINE_RUNTIME_VERSION", 0) < 0x801:
        pytest.skip("a readline that brackets no paste")
    terminal = Terminal([sys.executable, "-c", PROGRAM, *request.param.split()], HOME=str(tmp_path))
    yield terminal
    terminal.close()
    assert not list(tmp_path.iterdir()), "a history was written"


def arrived(terminal, *keys) -> str:
    terminal.wait_for(">")
    terminal.type(*keys)
    terminal.wait_for("GOT ")
    start = terminal.read_up_to
    terminal.wait_for(" END")
    return json.loads(terminal.screen[start : terminal.read_up_to - len(" END")])


def test_a_paste_of_several_lines_is_one_message(person):
    text = "Shorten my list:\nIs it open?\nno\nIs there parking?"
    assert arrived(person, pasted(text), ENTER) == text
    assert arrived(person, "/better ", pasted("one\ntwo"), ENTER) == "/better one\ntwo"


def test_a_line_longer_than_a_terminals_buffer_is_whole(person):
    text = "".join(f"{i} " for i in range(1100)) + "end"
    assert len(text) > 4095 and arrived(person, text, ENTER) == text


def test_arrow_keys_edit_and_recall(person):
    assert arrived(person, "helo", LEFT, "l", ENTER) == "hello"
    assert arrived(person, UP, "!", ENTER) == "hello!"
    assert arrived(person, UP, UP, ENTER) == "hello"


@pytest.mark.parametrize("text", ["Grüße, 日本語 👨\u200d👩\u200d👧", "שלום עולם, می\u200cخواهم", "दवा e\u0301"])
def test_every_script_arrives(person, text):
    assert arrived(person, text, ENTER) == text


def test_bytes_that_are_no_text_are_replaced(person):
    if "without" not in person.screen:  # readline's locale decides what it does with them
        assert arrived(person, "caf\udce9", ENTER).startswith("caf")


def test_ctrl_d_ends_it(person):
    assert arrived(person, "still here", ENTER) == "still here"
    person.wait_for(">")
    person.type(CTRL_D)
    assert person.end() == 0


def test_what_is_pasted_while_a_reply_is_written_is_the_next_message(person):
    long = "a line\n" * 1200 + "end"
    assert arrived(person, "wait", ENTER) == "wait"
    person.wait_for("BUSY")
    person.type(pasted(long), ENTER)
    os.kill(person.pid, signal.SIGUSR1)  # all of it has come meanwhile
    person.wait_for("GOT ")
    start = person.read_up_to
    person.wait_for(" END")
    assert json.loads(person.screen[start : person.read_up_to - len(" END")]) == long
    assert "a line" not in person.screen[: person.screen.index("BUSY") + 10]


def test_ctrl_c_clears_a_line_or_interrupts_and_alt_enter_begins_one():
    pytest.importorskip("prompt_toolkit")
    terminal = Terminal([sys.executable, "-c", PROGRAM])
    try:
        assert arrived(terminal, "wrong", CTRL_C, "right", ENTER) == "right"
        assert arrived(terminal, CTRL_C) == "INTERRUPT"
        assert arrived(terminal, "one", ALT_ENTER, "two", ENTER) == "one\ntwo"
    finally:
        terminal.close()


def chat(tiny_path: Path, *options: str) -> list[str]:
    settings = ["seed=3", "quiet_from=0", "quiet_until=0", "reply_tokens=4", "daily_limit=100"]
    sets = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "idletune.commands.cli", "chat", "--model", str(tiny_path), *sets, *options]


def test_a_conversation_at_a_terminal(tiny_path, home):
    """The fault this began with: pasted lines became a verdict, and the line after them the better answer."""
    pytest.importorskip("prompt_toolkit")
    terminal = Terminal(chat(tiny_path))
    try:
        terminal.wait_for(">")
        terminal.type("Is bread good?", ENTER)
        terminal.wait_for("/good, /better TEXT")
        terminal.wait_for(">")
        terminal.type(pasted("Shorten my list:\nIs it open?\nno\nIs there parking?"), ENTER)
        terminal.wait_for("/good, /better TEXT")
        terminal.wait_for(">")
        terminal.type("/better It is.", ENTER)
        terminal.wait_for("kept your answer")
        terminal.wait_for(">")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
    finally:
        terminal.close()
    with Store(home) as store:
        sets = {row["question"]: row["response"] for row in store.rows("SELECT question, response FROM dialogue_sets")}
    assert set(sets) == {"Is bread good?", "Shorten my list:\nIs it open?\nno\nIs there parking?"}
    assert list(sets.values()).count("It is.") == 1 and "no" not in sets.values()


NO_INPUT = {"closed": "<&-", "write only": "0>/dev/null", "empty": "</dev/null"}


@pytest.mark.parametrize("redirection", NO_INPUT.values(), ids=NO_INPUT)
def test_no_input_is_the_end_of_it(tiny_path, redirection):
    done = shell(f'"$@" {redirection}', *chat(tiny_path))
    assert done.returncode == 0 and "Traceback" not in done.stderr and "idletune:" not in done.stderr, done.stderr


@pytest.mark.parametrize("redirection", NO_INPUT.values(), ids=NO_INPUT)
@pytest.mark.parametrize("command", [["answer", "edit", "1"], ["erase"]])
def test_no_answer_is_one_line(home, redirection, command):
    with Store(home):
        pass
    done = shell(f'"$@" {redirection}', sys.executable, "-m", "idletune.commands.cli", *command)
    assert done.returncode == 2 and done.stderr.startswith("idletune: ") and done.stderr.count("\n") == 1


def shell(line: str, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", "-c", line, "sh", *words], capture_output=True, text=True, env=os.environ, timeout=300)
