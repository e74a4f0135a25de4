"""Notices that a connection has ended while nobody reads from it, and ends those that are idle for too long."""

import select
import socket
import threading
import time
from collections.abc import Iterable
from typing import Protocol

LONGEST_WAIT = 60.0  # seconds; a new connection and an end of one wake it


class Watched(Protocol):
    """A connection that is watched."""

    connection: socket.socket

    def drop(self) -> None: ...

    def expires(self) -> float | None:
        """When to drop it, a time of time.monotonic; None for never."""


class Watcher:
    """One thread for all connections. Thread-safe."""

    def __init__(self) -> None:
        self._lock, self._watched, self._ended = threading.Lock(), set[Watched](), False
        self._woken, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="idletune-watcher", daemon=True)
        self._thread.start()

    def add(self, connection: Watched) -> None:
        with self._lock:
            self._watched.add(connection)
        self._wake.send(b"x")

    def remove(self, connection: Watched) -> None:
        with self._lock:
            self._watched.discard(connection)

    def close(self) -> None:
        """End the thread; the connections stay as they are."""
        self._ended = True
        self._wake.send(b"x")
        self._thread.join()
        self._woken.close()
        self._wake.close()

    def _run(self) -> None:
        while not self._ended:
            with self._lock:
                watched = {each.connection.fileno(): each for each in self._watched}
            watched.pop(-1, None)  # closed meanwhile
            for number in self._hung_up(watched):
                self.remove(watched[number])
                watched.pop(number).drop()
            for connection in watched.values():
                expires = connection.expires()
                if expires is not None and expires <= time.monotonic():
                    self.remove(connection)
                    connection.drop()

    def _hung_up(self, watched: dict[int, Watched]) -> list[int]:
        """The numbers of the sockets that are closed at the other end, as soon as there are some or one expires.

        A client that has only said all it had to say (SHUT_WR) has not hung up: POLLHUP needs both directions.
        """
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        for number in watched:
            poll.register(number, 0)  # POLLHUP and POLLERR come unasked
        found = [number for number, _ in poll.poll(1000 * self._seconds(watched.values()))]
        if self._woken.fileno() in found:
            self._woken.recv(4096)
        return [number for number in found if number in watched]

    def _seconds(self, watched: Iterable[Watched]) -> float:
        """How long until the first connection may expire, in seconds."""
        times = [expires for each in watched if (expires := each.expires()) is not None]
        return min(LONGEST_WAIT, max(0.0, min(times, default=float("inf")) - time.monotonic()))
