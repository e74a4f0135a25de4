"""The socket: who may reach it, several clients at once, slow ones, and an end in order."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from idletune.commands.cli import main
from idletune.errors import UsageError
from idletune.rpc import Dispatcher
from idletune.rpc.connection import Patience
from idletune.rpc.messages import LARGEST_REQUEST
from idletune.rpc.server import MOST_CLIENTS, Server, longest_idle
from rpc_caller import CHANGED, CHARGING, Caller, Failed, check_response, hold_chats, in_thread


class Line:
    """A client over the socket, line by line."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(300)
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


@contextmanager
def serving(opened, path, patience=Patience()):
    """A server over the open tiny model; what it gives connects a client."""
    opened.open(seed=3)
    opened.dispatcher.host.subscribed = False  # as in `idletune serve`
    clients = []

    def connect():
        clients.append(Line(path))
        return clients[-1]

    with Server(opened.dispatcher, path, patience) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        yield connect
        [client.close() for client in clients]
        server.stop()
        thread.join(300)
        assert not thread.is_alive()
    assert not path.exists()


@pytest.fixture
def served(opened, path):
    with serving(opened, path) as connect:
        yield connect


def test_the_folder_and_the_socket_are_for_their_owner(served, path):
    assert path.parent.stat().st_mode & 0o777 == 0o700 and path.stat().st_mode & 0o777 == 0o600
    assert served().call("version")["api"] == 2


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
    with pytest.raises(UsageError, match="has 3.. bytes; a socket.s path has at most 107 bytes"):
        Server(Dispatcher(), path.parent / ("x" * 300))
    (path.parent / "link").symlink_to(path.parent / "file")
    with pytest.raises(UsageError, match="is a file"):
        Server(Dispatcher(), path.parent / "link")
    for odd in ("/", ".", "..", "", "a\0b"):
        with pytest.raises(UsageError, match="names no place for a socket"):
            Server(Dispatcher(), odd)
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
    listening.call("subscribe", prompts="all"), silent.call("subscribe"), silent.call("subscribe", on=False)
    reply = asking.call("chat", text="hello bread", stream=True)
    assert "".join(event["params"]["text"] for event in asking.events).strip() == reply["text"]
    assert {event["params"]["request_id"] for event in asking.events} == {asking.call.count}
    assert listening.receive()["method"] == "event.prompt"
    silent.call("version")
    assert {event["method"] for event in asking.events} == {"event.chat_text"} and silent.events == []


def test_an_answer_is_rated_by_its_id_whoever_was_told_it(served):
    """Also over another connection: who knows the id, knows the answer."""
    asking, rating = served(), served()
    told = asking.call("chat", text="hello bread")
    assert rating.call("feedback", completion=told["completion"], verdict="up")["answered"]
    assert rating.call("feedback", completion=told["completion"], verdict="better", text="a loaf")["answered"]
    assert asking.call("status")["runtime"]["answered"]["sets"] == 1 and not asking.call("prompts")["prompts"]
    with pytest.raises(Failed, match="unknown"):
        rating.call("feedback", completion="chatcmpl-guessed", verdict="up")


def test_a_client_stops_its_own_chat(served, monkeypatch):
    hold_chats(monkeypatch)
    client, talk = served(), b'{"text": "hello bread", "stream": true}'
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


def test_idle_clients_lock_nobody_out(served):
    """Which of them makes room is tested with `longest_idle`."""
    clients = [served() for _ in range(MOST_CLIENTS)]
    assert all(client.call("version") for client in clients) and clients[0].call("subscribe")
    for dropped in range(1, 4):
        clients.append(let_in(served))
        assert len(hung_up_on(clients, dropped)) == dropped
    assert clients[0].call("version"), "it waits for events: it goes last"


def test_a_place_is_made_of_one_that_waits_for_events_where_there_is_no_other(served):
    clients = [served() for _ in range(MOST_CLIENTS)]
    [client.call("subscribe") for client in clients]
    assert let_in(served).call("version") and len(hung_up_on(clients, 1)) == 1


def let_in(served) -> Line:
    """A new client, as soon as another is idle: that is a moment after the other has its answer."""
    end = time.monotonic() + 60
    while True:
        with suppress(OSError, AssertionError, Failed):  # it was refused, and the server hung up
            client = served()
            assert client.call("version")
            return client
        assert time.monotonic() < end, "nobody made room"


def hung_up_on(clients: list[Line], at_least: int) -> list[Line]:
    """Those that the server has hung up on, once there are so many; nothing else must be on its way to them."""
    poll, ended = select.poll(), set()
    for client in clients:
        poll.register(client.socket, 0)  # POLLHUP comes unasked
    end = time.monotonic() + 60
    while len(ended) < at_least and time.monotonic() < end:
        ended |= {number for number, _ in poll.poll(1000)}
    return [client for client in clients if client.socket.fileno() in ended]


@dataclass(frozen=True)
class Place:
    """What `longest_idle` looks at of a connection."""

    since: float | None  # None: at work
    subscribed: bool = False

    @property
    def client(self) -> "Place":
        return self

    def idle_since(self) -> float | None:
        return self.since


@pytest.mark.parametrize(
    ("places", "goes"),
    [
        ([Place(3.0), Place(1.0), Place(2.0)], 1),
        ([Place(1.0, subscribed=True), Place(3.0), Place(2.0)], 2),
        ([Place(2.0, subscribed=True), Place(1.0, subscribed=True), Place(None)], 1),
        ([Place(None), Place(None, subscribed=True)], None),
        ([], None),
    ],
)
def test_the_client_idle_longest_makes_room(places, goes):
    assert longest_idle(places) == (None if goes is None else places[goes])


def test_clients_at_work_are_counted(served, opened, monkeypatch):
    hold_chats(monkeypatch)
    clients = [served() for _ in range(MOST_CLIENTS)]
    for client in clients:
        client.send((CHAT % 1).encode())
        client.send(b'{"jsonrpc": "2.0", "id": "read", "method": "version"}')
        while client.receive().get("id") != "read":
            pass
    with pytest.raises(Failed, match="16 clients are connected and at work"):
        refused(served())
    opened.dispatcher.cancel()


def test_an_idle_client_is_sent_away_and_one_that_waits_for_events_is_not(opened, path):
    with serving(opened, path, Patience(idle=1.0)) as connect:
        waiting = subscribed(connect)
        assert connect().file.readline() == b""
        assert waiting.call("version")


def subscribed(connect):
    """A client that has subscribed; on a slow machine its patience may end before."""
    while True:
        try:
            client = connect()
            client.call("subscribe")
            return client
        except (AssertionError, OSError):
            pass


def test_a_client_that_takes_nothing_is_dropped(opened, path):
    with serving(opened, path, Patience(unread=0.05)) as connect:
        deaf, other = connect(), connect()
        with pytest.raises(OSError):
            while True:  # until the server, which does not read on meanwhile, hangs up
                deaf.socket.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}\n')
        assert other.call("version")


def test_nobody_on_the_socket_closes_or_opens_the_runtime(served, tmp_path):
    client = served()
    with pytest.raises(Failed, match="belongs to the process that serves it"):
        client.call("close")
    with pytest.raises(Failed, match="belongs to the process that serves it"):
        client.call("open", model=str(tmp_path / "other.gguf"), home=str(tmp_path))
    assert client.call("status")["open"]


def test_a_conversation_is_its_clients_own(served):
    asking, other = served(), served()
    first = asking.call("chat", text="my door code is 4711")
    assert other.call("chat", text="my door code is 4711")["prompt_tokens"] == first["prompt_tokens"]
    assert asking.call("chat", text="what is it?")["prompt_tokens"] > first["prompt_tokens"]
    other.call("chat", text="hello", new_conversation=True)
    assert asking.call("chat", text="and now?")["prompt_tokens"] > first["prompt_tokens"]


def test_a_conversation_is_shared_by_naming_its_session(served):
    asking, window = served(), served()
    first = asking.call("chat", text="my door code is 4711")
    session = asking.call("session")["session"]
    again = window.call("chat", text="my door code is 4711", session=session)
    assert again["prompt_tokens"] > first["prompt_tokens"]
    assert window.call("chat", text="my door code is 4711")["prompt_tokens"] == first["prompt_tokens"]
    assert window.call("session", session=session) == {"session": session}
    assert window.call("chat", text="my door code is 4711")["prompt_tokens"] > again["prompt_tokens"]
    with pytest.raises(Failed, match="no such session"):
        window.call("chat", text="hello", session="guessed")


def test_a_window_of_its_own_is_a_session_more(served):
    client = served()
    window = client.call("session", new=True)["session"]
    first = client.call("chat", text="my door code is 4711")
    assert client.call("chat", text="my door code is 4711", session=window)["prompt_tokens"] == first["prompt_tokens"]
    assert client.call("session")["session"] != window


def test_a_client_that_comes_back_goes_on_where_it_was(served):
    client = served()
    first, session = client.call("chat", text="my door code is 4711"), client.call("session")["session"]
    client.close()
    again = served().call("chat", text="my door code is 4711", session=session)
    assert again["prompt_tokens"] > first["prompt_tokens"]


def test_nobody_overhears_what_another_client_said(served):
    asking, other, keeper = served(), served(), served()
    asking.call("subscribe"), other.call("subscribe"), keeper.call("subscribe", prompts="all")
    asking.call("observe", question="my door code is 4711", response="noted")
    other.call("observe", question="hello bread", response="a loaf")
    told = asking.events[0]
    assert told["method"] == "event.prompt" and told["params"]["prompt"]["question"] == "my door code is 4711"
    assert other.call("prompts")["prompts"][0]["question"] == "hello bread"
    heard = json.dumps([*other.events, other.call("prompts"), other.call("status")])
    assert "4711" not in heard and "hello bread" in heard
    assert keeper.receive()["params"]["prompt"]["question"] == "my door code is 4711"


def test_a_question_without_a_client_goes_to_who_asked_for_all(served):
    asking, other, keeper = served(), served(), served()
    asking.call("observe", question="my door code is 4711", response="noted")
    asking.close()
    assert other.call("prompts") == {"prompts": [], "waiting": 1}
    keeper.call("subscribe", prompts="all")
    assert keeper.call("prompts")["prompts"][0]["question"] == "my door code is 4711"


def test_a_question_nobody_is_told_costs_no_place_in_the_daily_limit(served, opened):
    asking = served()
    asking.call("observe", question="my door code is 4711", response="noted")
    assert asking.call("status")["runtime"]["prompts"] == {"waiting": 1, "asked_today": 0}
    asking.call("prompts")
    assert asking.call("status")["runtime"]["prompts"] == {"waiting": 1, "asked_today": 1}


CHAT = '{"jsonrpc": "2.0", "id": %d, "method": "chat", "params": {"text": "hello bread", "stream": true}}'


@pytest.mark.parametrize(
    "sent",
    [
        CHAT % 1,
        "\n".join(CHAT % id for id in range(4)),
        "[" + ",".join(CHAT % id for id in range(64)) + "]",
    ],
    ids=["a chat", "queued chats", "a batch"],
)
def test_the_work_of_a_client_that_has_hung_up_is_stopped(served, opened, monkeypatch, sent):
    hold_chats(monkeypatch)
    gone, other = served(), served()
    gone.send(sent.encode())
    assert gone.receive()["method"] == "event.chat_text"
    gone.close()
    opened.call("settings", values={"reply_tokens": 4})  # waits for the model
    assert other.call("chat", text="hello")["tokens"] == 4
    assert other.call("status")["runtime"]["buffer"]["seen"] == 1, "what nobody waits for was answered"


def test_a_slice_nobody_waits_for_is_stopped(served, opened):
    opened.call("settings", values={"epochs": 10_000})
    opened.answered(8)
    opened.call("device_state", state=CHARGING)
    gone, other = served(), served()
    gone.call("subscribe")
    gone.send(b'{"jsonrpc": "2.0", "id": 1, "method": "tick"}')
    assert gone.receive()["method"] == "event.training"
    gone.close()
    while other.call("status")["runtime"]["learning"]["running"]:
        pass


def test_a_client_that_floods_keeps_nobody_waiting(served, monkeypatch):
    go_on = hold_chats(monkeypatch)
    flooding, other = served(), served()
    for id in range(8):
        flooding.send((CHAT % id).encode())

    def answers(count):
        found = []
        while len(found) < count:
            message = flooding.receive()
            found += [message.get("error", {"code": 0})["code"]] if "id" in message else []
        return found

    assert answers(3) == [-32004] * 3, "one is answered, four wait"
    chat = in_thread(lambda: other.call("chat", text="hello"))
    go_on.set()
    assert chat()["tokens"] > 0 and answers(5) == [0] * 5


def test_one_client_stops_no_chat_of_another(served, monkeypatch):
    go_on = hold_chats(monkeypatch)
    asking, other = served(), served()
    asking.send((CHAT % 1).encode())
    assert asking.receive()["method"] == "event.chat_text"
    assert "chat" not in other.call("cancel")["cancelled"]
    go_on.set()
    while "method" in (message := asking.receive()):
        pass
    assert message["result"]["tokens"] > 0


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
        [*command, "--home", str(opened.home), "--model", str(opened.model)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == f"serving on {path}; SIGTERM or Ctrl-C ends it\n"
        client = Line(path)
        for id in range(5):  # the first may be through by then, the last cannot
            client.send((CHAT % id).encode())
        assert client.receive()["method"] == "event.chat_text"
        process.send_signal(signal.SIGTERM)
        answers = {}
        while len(answers) < 5:
            message = client.receive()
            if "id" in message:
                answers[message["id"]] = message
        assert answers[4]["error"]["code"] in (-32005, -32003)  # cancelled; or it came when the runtime was closed
        assert client.file.readline() == b""
        assert process.wait(120) == 0 and not os.path.exists(path)
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
