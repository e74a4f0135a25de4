"""Events of the dispatcher for readers on the event loop, and as server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from ..rpc.events import EventQueue
from .answers import Refused, sse

MOST_STREAMS = 8  # of one owner: tabs, windows
ALIVE_SECONDS = 15.0  # between two signs of life, by which a dead peer is noticed
PAUSE = 1 / 30  # seconds between two events to one reader: each takes time from a model that is faster than that
RETRY = b"retry: 1000\n\n"  # milliseconds until a browser connects again


class AwaitedEvents(EventQueue):
    """An event queue whose reader awaits; any thread may put. To be made on the event loop.

    The reader is woken once for what comes within PAUSE: it is merged, as the queue does, and costs as much as one.
    """

    def __init__(self, origin: str):
        super().__init__(origin)
        self._loop, self._ready, self._ended = asyncio.get_running_loop(), asyncio.Event(), False
        self._waking, self._not_before = False, 0.0

    def put(self, name: str, key: int | None = None, **params: object) -> None:
        super().put(name, key, **params)
        if not self._waking:
            self._wake()

    def close(self) -> None:
        self._ended = True
        super().close()
        self._wake()

    async def next(self) -> dict | None:
        """The oldest event, as soon as there is one and PAUSE is over; None when closed and empty."""
        await self._pause()
        while True:
            self._ready.clear()
            self._waking = False  # before looking: what is put afterwards wakes again
            if event := self.take(0):
                self._not_before = self._loop.time() + PAUSE
                return event
            if self._ended:
                return None
            await self._ready.wait()

    async def _pause(self) -> None:
        """Let events gather; `close` ends it."""
        if self._ended or self._loop.time() >= self._not_before:
            return
        self._ready.clear()
        self._waking = True  # nothing that is put meanwhile has to wake
        over = self._loop.call_at(self._not_before, self._ready.set)
        await self._ready.wait()
        over.cancel()

    def _wake(self) -> None:
        self._waking = True
        with suppress(RuntimeError):  # the loop has ended: nobody awaits
            self._loop.call_soon_threadsafe(self._ready.set)


class Broadcast(EventQueue):
    """The events of one owner, for each stream that is open; where none is, they go nowhere."""

    def __init__(self, origin: str):
        super().__init__(origin)
        self.streams: tuple[AwaitedEvents, ...] = ()

    def put(self, name: str, key: int | None = None, **params: object) -> None:
        for stream in self.streams:
            stream.put(name, key, **params)

    def check_room(self) -> None:
        """Refused (429) where too many streams are open."""
        if len(self.streams) >= MOST_STREAMS:
            raise Refused(429, "busy", f"{MOST_STREAMS} event streams are open, which is the limit; close one")

    def open(self) -> AwaitedEvents:
        """One more stream."""
        stream = AwaitedEvents(self.origin)
        self.streams = (*self.streams, stream)
        return stream

    def leave(self, stream: AwaitedEvents) -> bool:
        """The stream has ended; returns whether others are open."""
        self.streams = tuple(other for other in self.streams if other is not stream)
        return bool(self.streams)

    def close(self) -> None:
        """End all streams."""
        for stream in self.streams:
            stream.close()


async def as_sse(stream: AwaitedEvents) -> AsyncIterator[bytes]:
    """The events as they come: `event:` is the name, `data:` the parameters."""
    yield RETRY
    while True:
        try:
            event = await asyncio.wait_for(stream.next(), ALIVE_SECONDS)
        except asyncio.TimeoutError:
            yield b": alive\n\n"
            continue
        if event is None:
            return
        yield sse(event["params"], event["method"])
