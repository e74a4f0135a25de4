"""`idletune web` and `idletune serve --http`, as processes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
from idletune.commands.cli import main

CALL = {"method": "status"}


@contextmanager
def started(home, model, *arguments, path=None):
    """The process, once it has told where it serves, with its first two lines."""
    command = [sys.executable, "-m", "idletune.commands.cli", *arguments, "--home", home, "--model", model]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process) -> tuple[str, str]:
    """The link and the address for programs."""
    link, programs = process.stdout.readline(), process.stdout.readline()
    assert link and programs, process.communicate()[1]
    return re.search(r"http://\S+key=\S+", link)[0], re.search(r"http://[\d.]+:\d+/v1", programs)[0]


def wait_until_open(client) -> None:
    while not client.post("/api/rpc", json=CALL).json()["result"]["open"]:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_page_is_served_until_a_signal(home, tiny_path, ending):
    with started(home, tiny_path, "web", "--port", "0", "--no-open") as process:
        link, address = told(process)
        with httpx.Client(base_url=address.removesuffix("/v1"), timeout=300) as browser:
            browser.headers["x-idletune-page"] = browser.get(link).headers["location"].removeprefix("/#key=")
            wait_until_open(browser)
            with browser.stream("GET", "/api/events") as events:  # is not waited for
                process.send_signal(ending)
                assert list(events.iter_lines())[-1:] != ["never"]
        printed, errors = process.communicate(timeout=120)
        assert process.returncode == 0 and errors == "" and printed == ""
    assert (home / "web_token").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_socket_and_http_serve_one_runtime(home, tiny_path, tmp_path):
    path = tmp_path / "run" / "socket"
    with started(home, tiny_path, "serve", "--http", "--port", "0", "--socket", path) as process:
        assert process.stdout.readline().startswith(f"serving on {path}")
        _, address = told(process)
        token = (home / "web_token").read_text().strip()
        with httpx.Client(base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=300) as client:
            while client.get("/models").status_code == 503:  # the model is being loaded
                pass
            asked = {"messages": [{"role": "user", "content": "and butter"}], "max_tokens": 2}
            assert client.post("/chat/completions", json=asked).status_code == 200
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "status"}\n')
            status = json.loads(connection.makefile().readline())["result"]["runtime"]
        assert status["buffer"]["seen"] == 1
        process.terminate()
        assert process.wait(120) == 0 and not path.exists()


@pytest.mark.slow
def test_termux_opens_the_link(home, tiny_path, tmp_path):
    program, opened = tmp_path / "bin" / "termux-open-url", tmp_path / "opened"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
    program.chmod(0o755)
    with started(home, tiny_path, "web", "--port", "0", path=program.parent) as process:
        link, _ = told(process)
        while not (opened.exists() and opened.read_text().endswith("\n")):
            assert process.poll() is None
        assert opened.read_text() == link + "\n"


@pytest.mark.slow
def test_what_keeps_the_model_from_opening_ends_the_server(home, tiny_path, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_path.read_bytes()[:2000])
    with started(home, broken, "web", "--port", "0", "--no-open") as process:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2 and "broken.gguf" in errors and "Traceback" not in errors


def refused(capsys, home, model, *arguments) -> str:
    assert main([*arguments, "--home", str(home), "--model", str(model)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::"])
def test_other_machines_are_let_in_only_when_the_risk_was_named(capsys, home, tiny_path, address):
    said = refused(capsys, home, tiny_path, "web", "--address", address)
    assert "HTTP is not encrypted" in said and "--unencrypted-on-the-network" in said
    assert not (home / "web_token").exists()


def test_wrong_use_is_told(capsys, home, tiny_path):
    assert "name where to serve" in refused(capsys, home, tiny_path, "serve")
    assert "no IP address" in refused(capsys, home, tiny_path, "web", "--address", "example.org")
    assert "cannot listen" in refused(capsys, home, tiny_path, "web", "--port", "70000")


def test_without_the_extra_the_command_says_what_to_install(capsys, home, tiny_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("idletune.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'idletune[web]'" in refused(capsys, home, tiny_path, "web", "--port", "0")
