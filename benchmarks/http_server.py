"""The HTTP server as a user runs it, in a process of its own."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTING = 60.0  # seconds


class HttpServer:
    """`idletune web` on a free port; `started` is when its process began, by time.perf_counter."""

    def __init__(self, home: Path, model: Path, settings: dict):
        options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        command = [sys.executable, "-m", "idletune.commands.cli", "web", "--no-open", "--port", "0"]
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--home", str(home), "--model", str(model), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout
        found = re.search(r"http://([\d.]+):(\d+)", self.process.stdout.readline())
        if not found:
            raise SystemExit(f"the server did not start: {self.process.communicate()[1]}")
        self.address, self.port = found[1], int(found[2])
        self.token = (home / "web_token").read_text().strip()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.address, self.port, timeout=120)

    def request(self, connection: http.client.HTTPConnection, path: str, body: dict) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        return connection.getresponse()

    def wait_until_open(self) -> None:
        """Until the model is loaded."""
        end = time.monotonic() + STARTING
        while time.monotonic() < end:
            answer = self.request(self.connect(), "/api/rpc", {"method": "status"})
            if json.loads(answer.read())["result"]["open"]:
                return
            time.sleep(0.05)
        raise SystemExit("the model was not loaded in time")

    def resident_mb(self) -> float:
        """The process's resident memory, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1e3

    def close(self) -> str:
        """End it; what it wrote to standard error."""
        self.process.terminate()
        return self.process.communicate(timeout=30)[1]


@contextmanager
def http_server(home: Path, model: Path, **settings: object) -> Iterator[HttpServer]:
    server = HttpServer(home, model, settings)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.close()
