"""One client's connection: lines in, answers and events out.

- A client may send a request while another one of its own is running (`stop` during `tick`), so answers come in
  the order they are ready. The number of requests under way is bounded: at the bound the server stops reading.
- A client that does not read blocks nobody else: events for it are merged, its own next requests wait, and after
  `Patience.unread` seconds it is dropped.
"""

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..state.origins import client
from . import messages
from .dispatcher import Dispatcher
from .errors import TOO_LARGE, RpcError
from .events import EventQueue

MOST_REQUESTS = 8  # of one client, under way
GOODBYE_SECONDS = 10.0  # for the last answers, when the server stops


@dataclass(frozen=True)
class Patience:
    """How long a connection may keep its place, in seconds."""

    idle: float = 600.0  # without a request, where it did not subscribe
    unread: float = 30.0  # while a message to it is not taken


class Outbox(EventQueue):
    """What waits to be sent to one client: events first, then answers."""

    def __init__(self, origin: str):
        super().__init__(origin)
        self._answers: deque[bytes] = deque()

    def answer(self, line: bytes) -> None:
        with self._changed:
            self._answers.append(line)
            self._changed.notify()

    def next(self) -> tuple[bytes, bool]:
        """The next message, as soon as there is one, and whether it is an answer; b"" when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._answers or self._closed)
            if self._waiting:
                return messages.write(self._waiting.popitem(last=False)[1]), False
            return (self._answers.popleft(), True) if self._answers else (b"", False)


class Connection:
    """One client's connection: a thread reads, a few handle, one writes."""

    def __init__(
        self, connection: socket.socket, dispatcher: Dispatcher, patience: Patience, only: frozenset[str] = frozenset()
    ):
        self.connection, self.dispatcher, self.patience = connection, dispatcher, patience
        self.outbox, self.room = Outbox(client(peer_name(connection))), threading.Semaphore(MOST_REQUESTS)
        self.client = dispatcher.clients.connect(self.outbox)
        self.client.only = only
        self.under_way, self.last_used = 0, time.monotonic()
        self._counting = threading.Lock()
        self.writer = threading.Thread(target=self._write, name="idletune-writer", daemon=True)
        seconds, rest = divmod(patience.unread, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(rest * 1e6)))

    def serve(self) -> None:
        """Handle requests until the client hangs up, or `hang_up`; returns when its last answer was sent."""
        self.writer.start()
        with ThreadPoolExecutor(MOST_REQUESTS, "idletune-call") as pool:
            for line in lines(self.connection):
                self.room.acquire()
                if self.client.gone:
                    break
                self._count(1)
                pool.submit(self._handle, line)
        self.client.subscribed = False
        self.outbox.close()
        self.writer.join()  # a client that does not read is dropped after `Patience.unread`, or by a server that stops
        self.drop()
        self.connection.close()

    def hang_up(self, how: int = socket.SHUT_RD) -> None:
        """Read nothing more. Requests under way are still answered; with SHUT_RDWR they are not."""
        with suppress(OSError):  # it has gone already
            self.connection.shutdown(how)

    def drop(self) -> None:
        """Close now, and cancel the client's work."""
        self.dispatcher.leave(self.client)
        self.hang_up(socket.SHUT_RDWR)
        self.room.release()  # a reader that waits for room looks at `gone` next

    def idle_since(self) -> float | None:
        """When its last request ended, by time.monotonic; None while one is under way."""
        with self._counting:
            return None if self.under_way else self.last_used

    def expires(self) -> float | None:
        """When it is dropped as idle, by time.monotonic; None while a request is under way, and for subscribers."""
        since = self.idle_since()
        return None if since is None or self.client.subscribed else since + self.patience.idle

    def _count(self, change: int) -> None:
        with self._counting:
            self.under_way += change
            self.last_used = time.monotonic()

    def _handle(self, line: bytes | None) -> None:
        if line is None:
            problem = RpcError(TOO_LARGE, f"a line has more than {messages.LARGEST_REQUEST} bytes")
            answer = messages.write(messages.failure(None, problem))
        else:
            answer = self.dispatcher.handle(line, self.client)
        if answer:
            self.outbox.answer(answer)  # the writer makes room when it has gone out
        else:
            self._finish()

    def _finish(self) -> None:
        self._count(-1)
        self.room.release()

    def _write(self) -> None:
        while (message := self.outbox.next())[0]:
            try:
                if not self.client.gone:
                    self.connection.sendall(message[0] + b"\n")
            except OSError:  # it has gone, or does not read; go on taking, so that nobody waits for room
                self.drop()
            if message[1]:
                self._finish()


def lines(connection: socket.socket) -> Iterator[bytes | None]:
    """The non-empty lines received, without line ends; None stands for a line that is too long.

    The last line needs no line end.
    """
    held, too_long = bytearray(), False
    while part := _received(connection):
        *ends, rest = part.split(b"\n")
        for end in ends:
            held += end
            if too_long or len(held) > messages.LARGEST_REQUEST:
                yield None
            elif held.strip():
                yield bytes(held)
            held, too_long = bytearray(), False
        held += rest
        if len(held) > messages.LARGEST_REQUEST:
            held, too_long = bytearray(), True
    if too_long:
        yield None
    elif held.strip():
        yield bytes(held)


def peer_name(connection: socket.socket) -> str:
    """The peer's program name as the system knows it, or its user id; "" where the system tells neither.

    A client cannot choose it, but whoever starts a program can: a mark, not a proof.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return ""
    form = struct.Struct("3i")  # process, user, group
    process, user, _ = form.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size))
    try:
        return Path(f"/proc/{process}/comm").read_text(errors="replace").strip()
    except OSError:  # it has ended, or is in another container
        return f"user {user}"


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""
