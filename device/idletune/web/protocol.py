"""Connections: how many there may be, and how long one may keep its place without taking or sending anything.

For a new connection beyond the limit the one idle longest makes room, so idle ones lock nobody out.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64
REQUEST_SECONDS = 10.0  # for the head of a request, from its first byte or from the connection's beginning
UNREAD_SECONDS = 30.0  # while a client takes nothing of what is sent to it


class PatientProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, for a connection that is dropped when it only keeps its place."""

    unread_seconds = UNREAD_SECONDS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # a stream transport, as always here
        self._unread: asyncio.TimerHandle | None = None
        self._silent: asyncio.TimerHandle | None = None
        self._await_request()
        self._last_used = self.loop.time()
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_without_request():  # it was a part of a head
            self._await_request()

    def on_response_complete(self) -> None:
        self._last_used = self.loop.time()
        self._stop_awaiting_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_awaiting_request()
        self._stop_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_waiting()
        self._unread = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_waiting()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP. uvicorn would let a request that is being answered send a response behind it."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
                return
        super().send_400_response(msg)

    def _make_room(self) -> None:
        """Drop the connection idle longest; this one where all others are at work."""
        others = [each for each in self.connections if isinstance(each, PatientProtocol) and each is not self]
        idle = [each for each in others if each.is_idle]
        dropped = min(idle, key=lambda each: each._last_used, default=self)
        self.connections.discard(dropped)  # at once, for the next one that comes
        dropped.transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _is_without_request(self) -> bool:
        """Whether a request is awaited; not the next one of a connection that is kept: uvicorn has a limit for that."""
        return self.is_idle and self.timeout_keep_alive_task is None

    def _await_request(self) -> None:
        """uvicorn itself waits for ever for the first request of a connection, and for the end of a head."""
        if self._silent is None:
            self._silent = self.loop.call_later(REQUEST_SECONDS, self._drop_silent)

    def _stop_awaiting_request(self) -> None:
        if self._silent is not None:
            self._silent.cancel()
            self._silent = None

    def _drop_silent(self) -> None:
        self._silent = None
        if self._is_without_request():
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
