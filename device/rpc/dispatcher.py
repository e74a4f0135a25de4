"""Requests in, answers and events out: JSON-RPC 2.0 over one runtime. What is called is in methods.py."""

import logging
import sys

from . import messages
from .errors import INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, NOT_OPEN, TOO_LARGE, RpcError, of_exception
from .events import EventQueue
from .methods import METHODS, Call
from .session import Session

log = logging.getLogger("idletune.rpc")


class Dispatcher:
    """Any thread may call anything at any time. Close it when done; afterwards all calls are answered not_open."""

    def __init__(self):
        self.session = Session()
        self.events = EventQueue()
        self._readers = [self.events]

    def handle(self, request: bytes, reader: EventQueue | None = None) -> bytes:
        """Answer one request or batch, UTF-8 in and out; b"" when there is nothing to answer. Never raises.

        `reader` is where this caller's chat text goes, if not to `next_event`.
        """
        try:
            answer = self._answer(messages.read(request), reader or self.events)
            return b"" if answer is None else messages.write(answer)
        except RpcError as error:
            return messages.write(messages.failure(None, error))
        except Exception as error:
            log.exception("a request failed")
            return messages.write(messages.failure(None, of_exception(error)))

    def next_event(self, timeout_seconds: float) -> bytes:
        """The next event as a notification; b"" when none came within `timeout_seconds`, or after `close`."""
        event = self.events.take(timeout_seconds)
        return messages.write(event) if event else b""

    def cancel(self) -> None:
        """Stop the chats and the slice of learning that are under way; a slice keeps a checkpoint."""
        self.session.cancel()

    def close(self) -> None:
        """Stop what runs, close the runtime, wake who waits for events. A second call does nothing."""
        self.session.close(for_good=True)
        self.events.close()

    def subscribe(self, reader: EventQueue) -> None:
        """Tell `reader` what concerns everybody: questions, progress, adapters."""
        if reader not in self._readers:
            self._readers = [*self._readers, reader]  # a new list: who iterates the old one is not disturbed

    def unsubscribe(self, reader: EventQueue) -> None:
        self._readers = [known for known in self._readers if known is not reader]

    def announce(self, name: str, key=None, **params) -> None:
        """Put an event to all readers."""
        for reader in self._readers:
            reader.put(name, key, **params)

    def _answer(self, value, reader: EventQueue):
        if not isinstance(value, list):
            return self._one(value, reader)
        if not value:
            raise RpcError(INVALID_REQUEST, "the batch is empty")
        if len(value) > messages.LONGEST_BATCH:
            raise RpcError(TOO_LARGE, f"{len(value)} requests in a batch; {messages.LONGEST_BATCH} are the limit")
        answers = [self._one(part, reader) for part in value]
        return [answer for answer in answers if answer is not None] or None

    def _one(self, value, reader: EventQueue) -> dict | None:
        """The response to one request; None for a notification."""
        try:
            request = messages.request_of(value)
        except RpcError as error:
            return messages.failure(messages.id_of(value), error)
        try:
            response = messages.result(request.id, self._call(request, reader))
        except Exception as error:
            response = messages.failure(request.id, self._explained(error))
        return response if request.answered else None

    def _call(self, request: messages.Request, reader: EventQueue) -> dict:
        method = METHODS.get(request.method)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"no method {request.method[:40]!r}; rpc.discover lists them")
        params = method.check(request.params)
        return method.run(Call(self, request.id, reader), **params)

    def _explained(self, error: Exception) -> RpcError:
        # The store was closed under a call that was just reading it.
        sqlite3 = sys.modules.get("sqlite3")  # loaded by the first open
        if sqlite3 and isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
            return RpcError(NOT_OPEN, "the runtime was closed meanwhile; call open first")
        explained = of_exception(error)
        if explained.code == INTERNAL_ERROR:
            log.error("a call failed", exc_info=error)
        return explained
