"""A server and two computers on loopback, two homes with different answers: TLS, who may come in, a kill, the result.

Needs the extra fleet. Everything is run as docs/fleet.md says.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from idletune.runtime import Runtime
from idletune.settings import Settings
from loop import answer_all, observe
from rpc_caller import CHANGED

pytest.importorskip("flwr", reason="Flower is not installed: make test-fleet, or pip install 'idletune[fleet]'")
pytestmark = pytest.mark.slow

ROUNDS = 2
MOST_SECONDS = 300.0  # for each step: Flower starts a process for every message
SETTINGS = {**CHANGED, "state_source": "sysfs", "window_needs": ""}  # whatever this machine knows of itself
RUN = "import sys; from {} import main; sys.exit(main({}))"
FORM = "--targets down --rank 2 --alpha 4 --top-share 1 --epochs 4 --learning-rate 0.01 --clip 100 --tell-loss".split()


class Machine:
    """Programs in a folder, by their logs."""

    def __init__(self, folder: Path, closing: ExitStack):
        self.folder, self.closing = folder, closing
        paths = [Path(__file__).parents[2] / name for name in ("device", "fleet")]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}

    def fleet(self, *arguments: str) -> str:
        """What idletune-fleet prints."""
        return self._run("idletune_fleet.cli", "", *arguments)

    def idletune(self, *arguments: str) -> str:
        return self._run("idletune.commands.cli", "", *arguments)

    def start(self, module: str, log: str, *arguments: str) -> subprocess.Popen:
        """A program that goes on; its children end with it."""
        with open(self.folder / log, "ab") as out:
            command = [sys.executable, "-c", RUN.format(module, ""), *arguments]
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )
        self.closing.callback(kill, process)
        return process

    def wait_for(self, log: str, text: str, seconds: float = MOST_SECONDS) -> None:
        path = self.folder / log
        until(
            lambda: text in path.read_text(errors="replace"), seconds, lambda: path.read_text(errors="replace")[-3000:]
        )

    def _run(self, module: str, given: str, *arguments: str) -> str:
        command = [sys.executable, "-c", RUN.format(module, given), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def kill(process: subprocess.Popen) -> None:
    """With its children: Flower's programs start others."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def until(condition, seconds: float, told=lambda: "") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def opened(home, tiny_path):
    with Runtime(home, tiny_path, Settings(**SETTINGS), sequences=2) as runtime:
        yield runtime


@pytest.fixture
def machine(tmp_path):
    with ExitStack() as closing:
        yield Machine(tmp_path, closing)


def make_home(machine, tiny_path, name, text):
    with opened(machine.folder / name, tiny_path) as runtime:
        runtime.change_settings(SETTINGS)
        observe(runtime, 10)
        answer_all(runtime, text)
    joined = machine.idletune("fleet", "--home", name, "--model", str(tiny_path), "--join", "fleet/terms.json", "--yes")
    assert "WITHOUT noise" in joined and "joined the family" in joined


def start_phone(machine, tiny_path, name):
    (machine.folder / f"{name}.door").mkdir(mode=0o700)
    door = f"{name}.door/s"
    machine.start(
        "idletune.commands.cli",
        f"{name}.log",
        "serve",
        "--home",
        name,
        "--model",
        str(tiny_path),
        "--fleet-socket",
        door,
    )
    machine.wait_for(f"{name}.log", "serving on")
    return door


def start_node(machine, server, name, door):
    machine.start(
        "idletune_fleet.cli", f"node-{name}.log", "node", "--server", server, "--certificate", "fleet/ca.pem",
        "--key", f"{name}.key", "--phone", door, "--port", str(free_port()),
    )  # fmt: skip


def start_server(machine, port):
    process = machine.start("idletune_fleet.cli", "server.log", "serve", "fleet", "--port", str(port))
    machine.wait_for("server.log", "Uvicorn running on https://")
    return process


def rounds_kept(machine) -> int:
    path = machine.folder / "fleet" / "progress.npz"
    if not path.is_file():
        return 0
    with np.load(path) as kept:
        return len(kept["replies"])


def test_two_homes_make_one_adapter_over_tls_through_a_kill(machine, tiny_path):
    port = free_port()
    server = f"127.0.0.1:{port}"
    machine.fleet(
        "new", "fleet", "--base", str(tiny_path), "--name", "the family", "--operator", "Anna", "--phones", "2",
        "--rounds", str(ROUNDS), "--pause", "1", *FORM,
    )  # fmt: skip
    make_home(machine, tiny_path, "anna", "aaaa aaaa aaaa")
    make_home(machine, tiny_path, "ben", "bbbb bbbb bbbb")
    running = start_server(machine, port)
    doors = {name: start_phone(machine, tiny_path, name) for name in ("anna", "ben")}
    for name in (*doors, "stranger"):
        machine.fleet("node-key", f"{name}.key")
        if name != "stranger":
            machine.fleet("register", "fleet", f"{name}.key.pub")
    start_node(machine, server, "stranger", doors["ben"])
    machine.wait_for("server.log", "No SuperNode found with the given public key")  # TLS alone lets nobody in
    for name, door in doors.items():
        start_node(machine, server, name, door)

    machine.fleet("run", "fleet")
    until(lambda: rounds_kept(machine) >= 1, MOST_SECONDS, lambda: tail(machine.folder / "server.log"))
    kill(running)  # in the middle of the second round
    assert not (machine.folder / "fleet" / "fleet.json").exists()
    (machine.folder / "server.log").write_text("")
    start_server(machine, port)
    machine.fleet("run", "fleet")
    result = machine.folder / "fleet" / "fleet.json"
    until(result.is_file, MOST_SECONDS, lambda: tail(machine.folder / "server.log"))

    statement = json.loads(result.read_text())["statement"]
    assert statement["phones"] == [2] * ROUNDS and statement["epsilon_of_one"] is None
    assert statement["held_out_losses"] == sorted(statement["held_out_losses"], reverse=True)
    for name in doors:  # both kinds of answers are in it
        with opened(machine.folder / f"new-{name}", tiny_path) as runtime:
            observe(runtime, 4)
            answer_all(runtime, 3 * f"{name[0] * 4} ")
            runtime.fleet.join(json.loads((machine.folder / "fleet" / "terms.json").read_text()))
            assert runtime.fleet.take(machine.folder / "fleet" / "fleet.gguf").adopted
    log = (machine.folder / "node-stranger.log").read_text()
    assert "train message" not in log
