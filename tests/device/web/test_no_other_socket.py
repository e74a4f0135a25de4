"""The HTTP server makes no socket but the one it listens on: it serves where the kernel ends a process that does."""

import platform
import signal
import subprocess
import sys

import httpx
import pytest
import silent
from served import sse

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in silent.SOCKET_CALLS, reason="needs Linux's seccomp"
)
SERVER = """
import sys
from pathlib import Path

import silent
from idletune.rpc import Dispatcher
from idletune.rpc.server import stopped_by_signals
from idletune.runtime import Runtime
from idletune.web.doors import Door
from idletune.web.server import WebServer

dispatcher = Dispatcher()
dispatcher.shared.open(lambda: Runtime(Path(sys.argv[1]), Path(sys.argv[2])))
server = WebServer(Door(dispatcher), "t" * 43)
serve = server.uvicorn.main_loop


async def serve_without_sockets():
    silent.deny_sockets(but_sending=True)
    print(server.new_link(), flush=True)
    await serve()


server.uvicorn.main_loop = serve_without_sockets
with stopped_by_signals(server):
    server.run()
dispatcher.close()
print("ended", flush=True)
"""


def started(code: str, *arguments) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=silent.HERE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_the_server_makes_no_socket_but_its_own(home, tiny_path):
    server = started(SERVER, home, tiny_path)
    link = server.stdout.readline().strip()
    with httpx.Client(base_url=link.partition("/open")[0], timeout=300) as page:
        page.headers["x-idletune-page"] = page.get(link).headers["location"].removeprefix("/#key=")
        assert page.get("/").status_code == 200
        asked = {"messages": [{"role": "user", "content": "and butter"}], "max_tokens": 4, "stream": True}
        assert sse(page.post("/v1/chat/completions", json=asked).text)[-1] == "[DONE]"
        told = page.post("/api/rpc", json={"method": "status"}).json()["result"]
        assert told["runtime"]["buffer"]["seen"] == 1
        with page.stream("GET", "/api/events") as events:
            assert next(events.iter_lines()).startswith("retry")
    server.terminate()
    printed, _ = server.communicate(timeout=120)
    assert printed == "ended\n", f"it ended with {server.returncode}"


def test_one_that_makes_another_is_ended():
    """So the test above can fail: also where a thread does so that was there before."""
    code = """
import socket, threading
import silent
go = threading.Event()
thread = threading.Thread(target=lambda: (go.wait(), socket.socket()))
thread.start()
silent.deny_sockets(but_sending=True)
go.set()
thread.join()
print("made")
"""
    process = started(code)
    assert process.communicate(timeout=120)[0] == "" and process.returncode == -signal.SIGSYS
