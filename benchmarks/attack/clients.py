"""Hostile clients on the socket of `idletune serve`: bounded loops, on this machine's own Unix socket alone.

Each case has a server of its own on the tiny model. A client that behaves gets its answer in a time that is measured
against what a chat takes on the idle server, and never a word of another client's.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

from idletune.rpc.connection import MOST_REQUESTS
from idletune.rpc.server import MOST_CLIENTS
from rpc_caller import CHANGED

from . import cases
from .found import Clock, Found
from .mutators import ODD_VALUES, damaged, damaged_json

SECONDS_A_CASE = 120.0
LONG_REPLY = 400  # tokens
SECRET = "zebra4711"
METHODS = {  # none that ends the server or writes elsewhere; for those the method itself is the promise
    "version": {},
    "chat": {"text": "hello", "stream": True},
    "observe": {"question": "is it open?", "response": "until six"},
    "prompts": {},
    "answer": {"prompt_id": 1, "shown": "0" * 16, "verdict": "accept"},
    "device_state": {"state": {"plugged": True, "percentage": 90}},
    "stop": {},
    "cancel": {},
    "status": {},
    "adapters": {},
    "rollback": {},
    "forget": {"id": 1},
    "forget_all": {"ids": [1, 2]},
    "sets": {"search": "open", "limit": 5},
    "compare": {"text": "hello"},
    "model": {},
    "check": {},
    "learning": {},
    "learn": {},
    "describe_settings": {},
    "upload": {"data": "W10="},
    "import_preview": {"upload": 1},
    "import": {"upload": 1},
    "imports": {},
    "forget_import": {"id": 1},
    "fleet": {},
    "leave_fleet": {},
    "fleet_update": {"terms": "0" * 64, "a_sha256": "0" * 64, "upload": 1},
    "fleet_loss": {"terms": "0" * 64, "a_sha256": "0" * 64, "upload": 1},
    "settings": {},
    "subscribe": {"on": True},
    "complete": {"messages": [{"role": "user", "content": "hello"}], "stop": ["x"], "stream": True},
    "another": {"completion": "chatcmpl-x"},
    "feedback": {"completion": "chatcmpl-x", "verdict": "better", "text": "until six"},
    "embed": {"texts": ["hello"]},
    "rpc.discover": {},
    "tick": {"max_seconds": 1},
}


class Server:
    """`idletune serve` in a process of its own, in a folder of its own."""

    def __init__(self, folder: Path, model: Path, reply_tokens: int = 12):
        self.folder = folder
        home = folder / "home"
        home.mkdir(parents=True, mode=0o700)
        (home / "settings.json").write_text(json.dumps({**CHANGED, "reply_tokens": reply_tokens, "daily_limit": 1000}))
        (folder / "closed").mkdir(mode=0o700)
        self.path = folder / "closed" / "socket"
        command = [sys.executable, "-m", "idletune.commands.cli", "serve", "--socket", str(self.path)]
        self.errors = open(folder / "errors", "wb")
        self.process = subprocess.Popen(
            [*command, "--home", str(home), "--model", str(model)], stdout=subprocess.PIPE, stderr=self.errors
        )
        if not self.process.stdout.readline().startswith(b"serving"):
            raise RuntimeError(f"no server: {self.last_words()}")

    def last_words(self) -> str:
        return (self.folder / "errors").read_text(errors="replace")[-400:]

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1e3

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("SIGTERM did not end the server") from None
        finally:
            self.errors.close()


class Line:
    """A connection; `heard` is everything that came over it."""

    def __init__(self, server: Server, seconds: float = 60.0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(server.path))  # waits for a place in the queue
        self.socket.settimeout(seconds)
        self.file, self.heard, self.count = self.socket.makefile("rb"), b"", 0

    def send(self, data: bytes) -> None:
        self.socket.sendall(data + b"\n")

    def ask(self, method: str, **params) -> int:
        self.count += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self.count, "method": method, "params": params}).encode())
        return self.count

    def receive(self) -> dict:
        line = self.file.readline()
        self.heard += line
        if not line.endswith(b"\n"):
            raise AssertionError("the server hung up")
        message = json.loads(line)
        return {"batch": message} if isinstance(message, list) else message

    def call(self, method: str, **params) -> dict:
        """The result or the error of a call; events on the way are only heard."""
        id = self.ask(method, **params)
        while (message := self.receive()).get("id") != id:
            pass
        return message

    def close(self) -> None:
        with suppress(OSError):
            self.file.close()
        self.socket.close()


def chat_seconds(line: Line) -> float:
    began = time.monotonic()
    answered = line.call("chat", text="hello bread", new_conversation=True)
    assert "result" in answered, answered
    return time.monotonic() - began


class Hostile:
    """The cases; each returns what is wrong."""

    def __init__(self, folder: Path, model: Path, seed: int):
        self.folder, self.model, self.seed = folder, model, seed

    @contextmanager
    def served(self, **options):
        folder = self.folder / "server"
        shutil.rmtree(folder, ignore_errors=True)
        server = Server(folder, self.model, **options)
        lines = []

        def connect(seconds: float = 60.0) -> Line:
            lines.append(Line(server, seconds))
            return lines[-1]

        connect.server = server
        try:
            yield connect
            if server.process.poll() is not None:
                raise AssertionError(f"the server died: {server.last_words()}")
        finally:
            [line.close() for line in lines]
            server.close()

    def malformed(self, share: int) -> str | None:
        """Damaged requests: each is answered by a code of ours that is not internal_error, and the next one is read."""
        chance, wrong = random.Random(f"{self.seed} {share}"), []
        with self.served() as connect:
            line = connect()
            for number in range(60):
                sent = hostile_line(chance)
                line.send(sent)
                for message in _until_quiet(line, f"end {number}"):
                    if message.get("error", {}).get("code") == -32603:
                        wrong.append(f"{sent[:150]!r} gave {message['error']['message']}")
        return "; ".join(wrong[:3]) or None

    def oversized(self, _: int) -> str | None:
        """Lines without an end, and deep or long JSON: refused, and no memory goes."""
        with self.served() as connect:
            before = connect.server.memory_mb()
            for text in (b"x" * 30_000_000, b"[" * 900_000, b'{"a":' * 150_000, b'{"id": ' + b"9" * 900_000 + b"}"):
                line = connect()
                with suppress(OSError):
                    line.send(text)
                    line.receive()
                line.close()
            grown = connect.server.memory_mb() - before
            connect().call("version")
        return f"grown by {grown:.0f} MB" if grown > 100 else None

    def slow_readers(self, _: int) -> str | None:
        """Clients that never read what they asked for: others do not wait for them."""
        with self.served() as connect:
            good = connect()
            usual = chat_seconds(good)
            for _ in range(5):
                deaf = connect()
                deaf.ask("subscribe")
                deaf.socket.setblocking(False)
                with suppress(BlockingIOError):
                    for _ in range(20_000):
                        deaf.socket.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}\n')
            return _too_long(chat_seconds(good), 8 * usual)

    def hang_ups(self, _: int) -> str | None:
        """Chats of clients that hung up do not go on."""
        with self.served(reply_tokens=LONG_REPLY) as connect:
            good = connect()
            usual = chat_seconds(good)
            for _ in range(24):
                gone = connect()
                gone.ask("chat", text="hello bread", stream=True)
                gone.close()
            return _too_long(chat_seconds(good), 4 * usual)

    def abandoned_batch(self, _: int) -> str | None:
        """A batch of 64 chats whose client hung up does not go on."""
        batch = [{"jsonrpc": "2.0", "id": n, "method": "chat", "params": {"text": "hello bread"}} for n in range(64)]
        with self.served(reply_tokens=LONG_REPLY) as connect:
            good = connect()
            usual = chat_seconds(good)
            gone = connect()
            gone.send(json.dumps(batch).encode())
            time.sleep(usual / 2)
            gone.close()
            return _too_long(chat_seconds(good), 4 * usual)

    def idle_connections(self, _: int) -> str | None:
        """Connections that say nothing lock nobody out."""
        with self.served() as connect:
            for _ in range(MOST_CLIENTS + 4):
                connect()
            time.sleep(0.5)
            answered = connect(20.0).call("version")
            return None if "result" in answered else f"locked out: {answered}"

    def many_connections(self, _: int) -> str | None:
        """Connections that come and go, with half a request in each."""
        with self.served() as connect:
            for number in range(300):
                line = connect()
                with suppress(OSError):
                    line.socket.sendall(b'{"jsonrpc": "2.0", "id": 1, "met'[: number % 30])
                line.close()
            time.sleep(0.5)
            files = len(os.listdir(f"/proc/{connect.server.process.pid}/fd"))
            answered = connect(20.0).call("version")
            return f"{files} files are open" if files > 100 else None if "result" in answered else str(answered)

    def starving(self, _: int) -> str | None:
        """One client keeps all its places with chats; another one's turn comes after at most one of them."""
        with self.served(reply_tokens=LONG_REPLY) as connect:
            good, flood = connect(), connect()
            usual = chat_seconds(good)
            for _ in range(MOST_REQUESTS):
                flood.ask("chat", text="hello bread")
            time.sleep(usual / 4)
            return _too_long(chat_seconds(good), 4 * usual)

    def flooding(self, _: int) -> str | None:
        """Two clients that send small calls as fast as they can; a third one chats meanwhile."""
        with self.served() as connect:
            good = connect()
            usual = chat_seconds(good)
            floods = [connect(), connect()]
            children = [_flooding(line) for line in floods]
            try:
                took = chat_seconds(good)
            finally:
                for child in children:
                    os.kill(child, 9)
                    os.waitpid(child, 0)
        return _too_long(took, 20 * usual)

    def overhearing(self, _: int) -> str | None:
        """Words of one client reach another by no method and no event, nor does its conversation go on in another's."""
        with self.served() as connect:
            first, second, fresh = connect(), connect(), connect()
            second.call("subscribe")
            alone = fresh.call("chat", text="tell me about bread")["result"]["prompt_tokens"]
            for due in fresh.call("prompts")["result"]["prompts"]:
                fresh.call("answer", prompt_id=due["id"], shown=due["shown"], verdict="dismiss")
            first.call("subscribe")
            for _ in range(2):
                first.call("chat", text=f"my locker has the code {SECRET}", stream=True)
                first.call("observe", question=f"where is {SECRET}?", response=f"{SECRET} is here")
            first.call("prompts")
            after = second.call("chat", text="tell me about bread", stream=True)["result"]["prompt_tokens"]
            for method in ("prompts", "status", "adapters", "settings", "rpc.discover", "version"):
                second.call(method)
            wrong = []
            if SECRET.encode() in second.heard:
                at = second.heard.index(SECRET.encode())
                wrong.append(f"overheard: {second.heard[max(0, at - 120) : at + 20]!r}")
            if after != alone:
                wrong.append(f"conversations are shared: a new client's prompt has {after} tokens, alone {alone}")
            return "; ".join(wrong) or None

    def answers_not_shown(self, _: int) -> str | None:
        """A prompt that was never shown takes no answer, whatever it claims to have seen."""
        with self.served() as connect:
            line = connect()
            for number in range(4):
                line.call("observe", question=f"question {number} about bread", response=f"reply {number}")
            shown = {prompt["id"]: prompt["shown"] for prompt in line.call("prompts")["result"]["prompts"]}
            claims = ["", "0" * 16, *shown.values()]
            taken = [
                number
                for number in range(1, 6)
                for claim in claims
                if shown.get(number) != claim
                and "result" in line.call("answer", prompt_id=number, shown=claim, verdict="accept")
            ]
            return f"answers to prompts {taken} were taken, shown were {shown}" if taken else None

    def drawn(self, shares: int) -> list[cases.Case]:
        kinds: list[Callable] = [
            self.overhearing,
            self.starving,
            self.hang_ups,
            self.abandoned_batch,
            self.idle_connections,
            self.many_connections,
            self.answers_not_shown,
            self.slow_readers,
            self.oversized,
            self.flooding,
        ]
        one_each = [cases.Case(kind.__name__, "once", lambda kind=kind: kind(0)) for kind in kinds]
        many = [cases.Case("malformed", f"share {n}", lambda n=n: self.malformed(n)) for n in range(shares)]
        return one_each + many


def hostile_line(chance: random.Random) -> bytes:
    """A damaged request, or a batch of some; no line ends in it."""
    name = chance.choice(list(METHODS))
    request = {"jsonrpc": "2.0", "id": chance.randrange(1000), "method": name, "params": dict(METHODS[name])}
    if chance.random() < 0.5 and request["params"]:
        request["params"][chance.choice(list(request["params"]))] = chance.choice(ODD_VALUES)
    value = [request] * chance.choice((0, 1, 3, 65)) if chance.random() < 0.1 else request
    text = json.dumps(value).encode()
    if chance.random() < 0.5:
        text = (damaged_json if chance.random() < 0.7 else damaged)(text, chance)
    return text.replace(b"\n", b" ")


def _until_quiet(line: Line, id: str):
    """What comes until all that was sent is answered: the server answers in any order, so until two calls of ours,
    one after the other, have been answered with nothing else between them."""
    for n in range(50):
        line.send(json.dumps({"jsonrpc": "2.0", "id": f"{id} {n}", "method": "version"}).encode())
        came = []
        while (message := line.receive()).get("id") != f"{id} {n}":
            came += message.get("batch", [message])
        yield from came
        if not came and n:
            return
        time.sleep(0.01)


def _too_long(took: float, allowed: float) -> str | None:
    allowed += 3.0
    return f"an answer took {took:.1f} s, {allowed:.1f} s were allowed" if took > allowed else None


def _flooding(line: Line) -> int:
    """A child that sends and drains until it is killed."""
    child = os.fork()
    if child:
        return child
    try:
        line.socket.setblocking(False)
        while True:
            with suppress(BlockingIOError):
                line.socket.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "status"}\n' * 8)
            with suppress(BlockingIOError):
                line.socket.recv(1 << 20)
    finally:
        os._exit(0)


def attack(folder: Path, model: Path, seed: int, seconds: float, shares: int) -> Found:
    """Each hostile client once, then so many shares of damaged requests, as long as there is time."""
    found, clock = Found(), Clock(seconds)
    folder.mkdir()
    drawn = Hostile(folder, model, seed).drawn(shares)
    cases.run(drawn, SECONDS_A_CASE, clock, found, batch=1)
    found.outcomes["damaged requests"] = 60 * found.cases["malformed"]
    found.seconds = clock.spent
    return found
