"""Saying something may fail; the work goes on."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from idletune.commands.cli import main
from idletune.commands.say import say
from idletune.progress import Progress
from idletune.state.schedule_records import last_code
from idletune.state.store import Store

FULL = Path("/dev/full")


class Lost(io.StringIO):
    def isatty(self):
        return True

    def write(self, text):
        raise OSError(28, "No space left on device")


@pytest.fixture(params=["full disk", "closed pipe", "closed"])
def output(request):
    """A standard output that takes nothing."""
    if request.param == "closed":
        yield None
    elif request.param == "closed pipe":
        reading, writing = os.pipe()
        os.close(reading)
        yield writing
        os.close(writing)
    elif FULL.exists():
        with FULL.open("wb") as file:
            yield file
    else:
        pytest.skip("no /dev/full here")


def start(output, *command) -> subprocess.Popen:
    words = [sys.executable, "-m", "idletune.commands.cli", *map(str, command)]
    if output is None:
        return subprocess.Popen(["sh", "-c", '"$@" >&-', "sh", *words], stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(words, stdout=output, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_watch_goes_on_where_nobody_can_be_told(output, home, tiny_path):
    """It ends by the signal alone, and writes no traceback."""
    with Store(home) as store:
        watch = start(output, "watch", "--model", tiny_path)
        end = time.monotonic() + 120
        while not last_code(store) and watch.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        assert watch.poll() is None, watch.stderr.read()
        os.kill(_python(watch), signal.SIGTERM)
        told = watch.communicate(timeout=120)[1]
    assert watch.returncode in (0, 2) and "Traceback" not in told and "Exception" not in told


def _python(process) -> int:
    """A shell with one command may have become it, or have it as a child."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(([*children.read_text().split(), process.pid] if children.exists() else [process.pid])[0])


@pytest.mark.slow
def test_output_that_is_lost_is_one_line_and_an_exit_code(home, tiny_path):
    if not FULL.exists():
        pytest.skip("no /dev/full here")
    with FULL.open("wb") as full:
        status = start(full, "status", "--json", "--model", tiny_path)
        told = status.communicate(timeout=120)[1]
    assert status.returncode == 2 and "Traceback" not in told and "Exception" not in told
    assert told.count("idletune: cannot write the output (No space left on device)") == 1


def test_a_line_that_cannot_be_said(monkeypatch):
    for stream in (Lost(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        say("a line")
    closed = io.StringIO()
    closed.close()
    say("a line", closed)


def test_an_error_that_cannot_be_said_keeps_its_exit_code(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", Lost())
    assert main(["status", "--model", str(tmp_path / "none.gguf")]) == 2


@pytest.mark.parametrize("stream", [Lost(), None])
def test_a_bar_that_cannot_be_drawn_ends_no_work(stream, monkeypatch):
    monkeypatch.setattr("idletune.progress.DELAY_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress("training", 3) as bar:
        for step in range(4):
            bar(step)
