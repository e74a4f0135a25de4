"""Speech in Termux: off by default, said to whoever switches it on, and never sent before the user has read it."""

from dataclasses import replace

import pytest
from idletune.commands.chat_loop import ChatLoop
from idletune.errors import UsageError
from idletune.runtime import Runtime
from idletune.schedule import speech
from idletune.settings import Settings
from loop import SETTINGS


@pytest.fixture
def chat(home, tiny_path, monkeypatch):
    """Runs a chat of what is typed, each a line or an exception; gives what was written, and the runtime's sets."""

    def run(*typed, **settings):
        lines, written = iter(typed), []

        def read(_):
            line = next(lines, None)
            if line is None or line is KeyboardInterrupt:
                raise line or EOFError
            return line

        with Runtime(home, tiny_path, replace(SETTINGS, **settings), sequences=2) as opened:
            ChatLoop(opened, read=read, write=written.append).run()
            return "".join(written), opened.buffer.sets()

    return run


def test_the_last_guess_is_what_was_said(phone):
    phone.says("what", "what is a", "what is a\tbun?")
    assert speech.hear() == "what is a bun?"


def test_why_nothing_was_heard_is_said(phone, monkeypatch):
    with pytest.raises(UsageError, match="nothing was heard; allow Termux:API the microphone"):
        speech.hear()
    (phone.bin / speech.PROGRAM).write_text("#!/bin/sh\nsleep 60\n")
    with pytest.raises(UsageError, match="did not end within 0 s"):
        speech.hear(seconds=0.1)
    monkeypatch.setenv("PATH", str(phone.state))
    with pytest.raises(UsageError, match="pkg install termux-api"):
        speech.hear()


def test_it_is_off_until_the_user_switches_it_on(phone, chat):
    phone.says("what is a bun?")
    written, kept = chat("/speak")
    assert not Settings().speech and speech.OFF in written and "listening" not in written and not kept


def test_a_message_is_said_looked_at_and_sent(phone, chat):
    phone.says("what is a bun?")
    written, kept = chat("/speak", "", "/speak", "what is a nun?", "/speak", KeyboardInterrupt, "/speak", speech=True)
    assert [each.question for each in kept] == ["what is a bun?", "what is a nun?"]
    assert written.count(speech.NOTICE) == 1 and written.count("heard: what is a bun?") == 4


def test_a_better_answer_is_said(phone, chat):
    phone.says("a small loaf")
    _, (bun, rye) = chat("what is a bun?", "/better /speak", "", "and rye?", "/better", "/speak", "/skip", speech=True)
    assert bun.response == "a small loaf" and rye.response is None
