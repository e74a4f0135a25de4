"""The socket: who may reach it, several clients at once, slow ones, and an end in order."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from idletune.commands.cli import main
from idletune.errors import UsageError
from idletune.rpc import Dispatcher
from idletune.rpc.messages import LARGEST_REQUEST
from idletune.rpc.server import MOST_CLIENTS, Server
from rpc_caller import CHANGED, Caller, Failed, check_response


class Line:
    """A client over the socket, line by line."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.file, self.events = self.socket.makefile("rb"), []
        self.call = Caller(self.handle)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data + b"\n")

    def receive(self) -> dict:
        line = self.file.readline()
        assert line.endswith(b"\n"), "the server hung up"
        return json.loads(line)

    def handle(self, request: bytes) -> bytes:
        self.send(request)
        while "method" in (message := self.receive()):
            self.events.append(message)
        return json.dumps(message).encode()

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "closed" / "socket"


@pytest.fixture
def served(opened, path):
    """A server over the open tiny model; `served()` connects a client."""
    opened.open(seed=3)
    clients = []

    def connect():
        clients.append(Line(path))
        return clients[-1]

    with Server(opened.dispatcher, path) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        yield connect
        [client.close() for client in clients]
        server.stop()
        thread.join(60)
        assert not thread.is_alive()
    assert not path.exists()


def test_the_folder_and_the_socket_are_for_their_owner(served, path):
    assert path.parent.stat().st_mode & 0o777 == 0o700 and path.stat().st_mode & 0o777 == 0o600
    assert served().call("version")["api"] == 1


def test_a_place_others_can_reach_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o750)
    with pytest.raises(UsageError, match="mode 0750, others can reach a socket in it; chmod 700"):
        Server(Dispatcher(), tmp_path / "open" / "socket")


def test_a_place_that_is_taken_is_refused(served, path, tmp_path):
    with pytest.raises(UsageError, match="another IdleTune serves on"):
        Server(Dispatcher(), path)
    (path.parent / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        Server(Dispatcher(), path.parent / "file")
    assert (path.parent / "file").read_text() == "mine"
    with pytest.raises(UsageError, match="at most 107 bytes"):
        Server(Dispatcher(), path.parent / ("x" * 120))
    with pytest.raises(UsageError, match="File name too long.*at most 107 bytes"):
        Server(Dispatcher(), path.parent / ("x" * 300))
    assert served().call("version")


def test_a_dead_ones_socket_is_replaced(path):
    path.parent.mkdir(mode=0o700)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with Server(Dispatcher(), path):
        Line(path).close()
    assert not path.exists()


def test_text_goes_to_who_asked_and_news_to_who_subscribed(served):
    asking, listening, silent = served(), served(), served()
    listening.call("subscribe"), silent.call("subscribe"), silent.call("subscribe", on=False)
    reply = asking.call("chat", text="hello bread", stream=True)
    assert "".join(event["params"]["text"] for event in asking.events).strip() == reply["text"]
    assert {event["params"]["request_id"] for event in asking.events} == {asking.call.count}
    assert listening.receive()["method"] == "event.prompt"
    silent.call("version")
    assert {event["method"] for event in asking.events} == {"event.chat_text"} and silent.events == []


def test_a_client_stops_its_own_chat(served, opened):
    opened.call("settings", values={"reply_tokens": 900})
    client = served()
    talk = b'{"text": "hello bread", "stream": true}'  # its reply is long: it does not end by itself meanwhile
    client.send(b'{"jsonrpc": "2.0", "id": "chat", "method": "chat", "params": %s}' % talk)
    assert client.receive()["method"] == "event.chat_text"
    client.send(b'{"jsonrpc": "2.0", "id": "stop", "method": "cancel"}')
    answers = {}
    while len(answers) < 2:
        message = client.receive()
        if "id" in message:
            answers[message["id"]] = message
    assert answers["stop"]["result"] == {"cancelled": ["chat"]} and answers["chat"]["error"]["code"] == -32005


def test_a_line_too_long_is_refused_and_the_next_one_read(served):
    client = served()
    client.send(b'{"x": "' + b"x" * (LARGEST_REQUEST + 100_000) + b'"}')
    assert client.receive()["error"]["code"] == -32006
    client.send(b"\n\n   ")
    assert client.call("version")


def test_what_was_asked_is_answered_after_the_client_has_said_all(served):
    client = served()
    client.send(b'{"jsonrpc": "2.0", "id": 1, "method": "chat", "params": {"text": "hello"}}')
    client.socket.shutdown(socket.SHUT_WR)
    assert client.receive()["id"] == 1 and client.file.readline() == b""


def test_the_last_request_needs_no_end_of_line(served):
    client = served()
    client.socket.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "version"}')
    client.socket.shutdown(socket.SHUT_WR)
    assert client.receive()["id"] == 1 and client.file.readline() == b""
    client = served()
    client.socket.sendall(b"x" * (LARGEST_REQUEST + 100_000))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.receive()["error"]["code"] == -32006 and client.file.readline() == b""


def test_a_client_that_does_not_read_keeps_nobody_waiting(served):
    deaf, other = served(), served()
    deaf.call("subscribe")
    deaf.socket.setblocking(False)
    discover, sent = b'{"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}\n', 0
    try:
        while sent < 100_000:  # far more answers than any buffer holds
            deaf.socket.sendall(discover)
            sent += 1
    except BlockingIOError:
        pass
    assert 0 < sent < 100_000, "the server read on although nobody took its answers"
    for _ in range(3):
        assert other.call("chat", text="hello", stream=True)["tokens"] > 0


def test_clients_are_counted(served):
    clients = [served() for _ in range(MOST_CLIENTS)]
    assert all(client.call("version") for client in clients)
    with pytest.raises(Failed, match="16 clients are connected"):
        refused(served())
    clients[0].close()
    while True:  # its place is free as soon as the server has noticed
        try:
            assert served().call("version")
            break
        except (AssertionError, OSError):
            pass


def refused(client):
    response = client.receive()
    check_response(response)
    raise Failed(response["error"])


def test_eight_clients_call_at_once(served):
    problems = []

    def calls():
        client = served()
        try:
            for _ in range(10):
                client.call("status"), client.call("prompts"), client.call("chat", text="hello", stream=True)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=calls) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join(120) for thread in threads]
    assert not problems


def test_serve_ends_in_order_on_sigterm(opened, path):
    command = [sys.executable, "-m", "idletune.commands.cli", "serve", "--socket", str(path)]
    (opened.home / "settings.json").write_text(json.dumps({**CHANGED, "reply_tokens": 900, "seed": 3}))
    process = subprocess.Popen(
        [*command, "--home", str(opened.home), "--model", str(opened.model)], stdout=subprocess.PIPE, text=True,
    )
    try:
        assert process.stdout.readline() == f"serving on {path}; SIGTERM or Ctrl-C ends it\n"
        client = Line(path)
        client.send(b'{"jsonrpc": "2.0", "id": 1, "method": "chat", "params": {"text": "hello bread", "stream": true}}')
        assert client.receive()["method"] == "event.chat_text"
        process.send_signal(signal.SIGTERM)
        while "method" in (message := client.receive()):
            pass
        assert message["error"]["code"] == -32005 and client.file.readline() == b""
        assert process.wait(60) == 0 and not os.path.exists(path)
    finally:
        process.kill()
        process.wait()


def test_serve_says_what_is_wrong(opened, tmp_path, capsys):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    place = ["--home", str(opened.home), "--model", str(opened.model)]
    assert main(["serve", "--socket", str(tmp_path / "open" / "socket"), *place]) == 2
    assert "chmod 700" in capsys.readouterr().err
    assert main(["serve", "--socket", str(tmp_path / "closed" / "socket"), *place, "--set", "window_needs=moon"]) == 2
    assert "window_needs names 'moon'" in capsys.readouterr().err and not (tmp_path / "closed" / "socket").exists()
