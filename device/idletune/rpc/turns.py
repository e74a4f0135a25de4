"""The queue at the model: round robin among clients, first in, first out within one.

A client that sends many calls waits behind itself; whoever sends one waits for at most one call of each other client.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable

from .errors import BUSY, CANCELLED, RpcError

MOST_QUEUED_CHATS = 4  # of one client; the one that is answered does not count


class Turns:
    """A lock that is handed on fairly. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queues: OrderedDict[object, deque[object]] = OrderedDict()  # by client, whose turn is next first
        self._taken = False

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        with self._changed:
            return sum(map(len, self._queues.values()))

    def take(self, client: object, most: int | None = None, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait for the client's turn. RpcError: busy where `most` of its calls wait already, cancelled when asked to.

        Who cancels calls `wake` afterwards.
        """
        place = object()
        with self._changed:
            queue = self._queues.get(client, deque())
            if most is not None and len(queue) >= most:
                raise RpcError(BUSY, f"{len(queue)} calls of this client wait already; call when one is answered")
            self._queues.setdefault(client, queue).append(place)
            try:
                self._changed.wait_for(lambda: cancelled() or self._is_next(client, place))
                if cancelled():
                    raise RpcError(CANCELLED, "the call was cancelled before it began")
                self._taken = True
                self._queues.move_to_end(client)
            finally:
                self._leave(client, place)

    def take_now(self) -> bool:
        """Take the turn if nobody has it and nobody waits."""
        with self._changed:
            if self._taken or self._queues:
                return False
            self._taken = True
            return True

    def release(self) -> None:
        """End the turn; the next call in the queue goes on."""
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def wake(self) -> None:
        """Make waiting calls check whether they were cancelled."""
        with self._changed:
            self._changed.notify_all()

    def _is_next(self, client: object, place: object) -> bool:
        return not self._taken and next(iter(self._queues)) is client and self._queues[client][0] is place

    def _leave(self, client: object, place: object) -> None:
        self._queues[client].remove(place)
        if not self._queues[client]:
            del self._queues[client]
        self._changed.notify_all()
