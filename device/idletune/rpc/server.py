"""The dispatcher on a Unix socket: one JSON message a line, for several clients at once.

- File permissions are the access control: a folder that nobody else can enter (0700), a socket with mode 0600.
- A client that sends nothing for long is dropped. For a new client the one idle longest makes room.
- A client that hangs up is noticed while its work is under way (watcher.py), and the work is stopped.

Threads and not asyncio: every method blocks (llama.cpp, SQLite), so each call would need a thread all the same. And
asyncio does not tell a client that closed its writing side, which still gets its answers, from one that hung up.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from . import messages
from .connection import GOODBYE_SECONDS, Connection, Patience
from .dispatcher import Dispatcher
from .errors import BUSY, RpcError
from .socket_path import check_folder, check_name, listen, lock
from .watcher import Watcher

MOST_CLIENTS = 16


class Server:
    """Listens on `path` until `stop`. Use it in a `with` block: its end closes all connections and the dispatcher.

    `only` are the methods that clients may call here, where they may not call all.
    UsageError for a folder that other users can enter, or where another server listens.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        path: Path,
        patience: Patience = Patience(),
        only: frozenset[str] = frozenset(),
    ):
        self.dispatcher, self.path, self.patience, self.only = dispatcher, Path(path), patience, only
        self._connections: dict[Connection, threading.Thread] = {}
        self._stopping = False
        check_name(self.path)
        check_folder(self.path.parent)
        self._lock = lock(self.path)
        try:
            self._listener = listen(self.path, MOST_CLIENTS)
        except BaseException:
            os.close(self._lock)
            raise
        self._watcher = Watcher()

    def run(self) -> None:
        """Accept clients; returns after `stop`."""
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                raise
            self._welcome(connection)

    def stop(self) -> None:
        """End `run`; from a signal handler or another thread."""
        self._stopping = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept

    def _welcome(self, connection: socket.socket) -> None:
        self._forget_ended()
        if len(self._connections) >= MOST_CLIENTS and not self._make_room():
            problem = RpcError(BUSY, f"{MOST_CLIENTS} clients are connected and at work, which is the limit; try later")
            connection.settimeout(GOODBYE_SECONDS)
            with connection, suppress(OSError):
                connection.sendall(messages.write(messages.failure(None, problem)) + b"\n")
            return
        served = Connection(connection, self.dispatcher, self.patience, self.only)
        thread = threading.Thread(target=self._serve, args=(served,), name="idletune-client", daemon=True)
        self._watcher.add(served)
        thread.start()
        self._connections[served] = thread

    def _serve(self, client: Connection) -> None:
        try:
            client.serve()
        finally:
            self._watcher.remove(client)

    def _make_room(self) -> bool:
        """Drop the connection that `longest_idle` gives; False when all are at work."""
        oldest = longest_idle(self._connections)
        if oldest is None:
            return False
        oldest.drop()
        del self._connections[oldest]
        return True

    def _forget_ended(self) -> None:
        self._connections = {client: thread for client, thread in self._connections.items() if thread.is_alive()}

    def close(self) -> None:
        """Stop the dispatcher, answer what was asked, hang up and remove the socket."""
        self.stop()  # `run` may be under way in another thread
        self._listener.close()
        self.dispatcher.close()
        for how in (socket.SHUT_RD, socket.SHUT_RDWR):  # first in order, then those that do not read either
            for known in list(self._connections):
                known.hang_up(how)
            end = time.monotonic() + GOODBYE_SECONDS
            for thread in list(self._connections.values()):
                thread.join(max(0.0, end - time.monotonic()))
        self._watcher.close()
        self.path.unlink(missing_ok=True)
        os.close(self._lock)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def longest_idle(connections: Iterable[Connection]) -> Connection | None:
    """The connection idle longest; one that waits for events only where there is no other. None if all are at work."""
    idle = {each: since for each in connections if (since := each.idle_since()) is not None}
    return min(idle, key=lambda each: (each.client.subscribed, idle[each]), default=None)


class Stoppable(Protocol):
    """A server that a signal ends."""

    def stop(self) -> None: ...


@contextmanager
def stopped_by_signals(server: Stoppable) -> Iterator[None]:
    """SIGTERM and Ctrl-C stop the server cleanly; a second one ends the process at once."""

    def stop(number, _) -> None:
        signal.signal(number, before[number])
        server.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
