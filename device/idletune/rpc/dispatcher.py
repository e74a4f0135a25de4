"""Requests in, answers and events out: JSON-RPC 2.0 over one runtime. The methods are in methods/."""

import logging
import sys

from . import messages
from .clients import Client, Clients
from .errors import (
    CANCELLED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_OPEN,
    TOO_LARGE,
    WRONG_USE,
    RpcError,
    of_exception,
)
from .events import EventQueue
from .learning_by_hand import LearningByHand
from .methods import METHODS, Call
from .shared_runtime import SharedRuntime
from .uploads import Uploads

log = logging.getLogger("idletune.rpc")


class Dispatcher:
    """Any thread may call anything at any time. Close it when done; afterwards all calls are answered not_open."""

    def __init__(self) -> None:
        self.shared = SharedRuntime()
        self.learning = LearningByHand(self.shared)
        self.events = EventQueue()
        self.uploads = Uploads()
        self.clients = Clients(self._end_conversation)
        self.host = self.clients.connect(self.events, is_host=True)

    def handle(self, request: bytes, client: Client | None = None) -> bytes:
        """Answer one request or batch, UTF-8 in and out; b"" when there is nothing to answer. Never raises.

        `client` is who calls, if not the host of this process, whose events come from `next_event`.
        """
        try:
            answer = self._answer(messages.read(request), client or self.host)
            return b"" if answer is None else messages.write(answer)
        except RpcError as error:
            return messages.write(messages.failure(None, error))
        except Exception as error:
            log.exception("a request failed")
            return messages.write(messages.failure(None, of_exception(error)))

    def call(self, method: str, params: object, client: Client, id: messages.Id = None) -> dict:
        """The result of one method, for callers with a form of their own (HTTP). Raises RpcError alone."""
        try:
            return self._call(messages.Request(method, params, id, answered=True), client)
        except Exception as error:
            raise self._explained(error) from None

    def next_event(self, timeout_seconds: float) -> bytes:
        """The next event as a notification; b"" when none came within `timeout_seconds`, or after `close`."""
        event = self.events.take(timeout_seconds)
        return messages.write(event) if event else b""

    def cancel(self) -> None:
        """Stop all chats and the slice of learning; a slice keeps a checkpoint."""
        self.shared.cancel()

    def close(self) -> None:
        """Stop what runs, close the runtime, wake who waits for events. A second call does nothing."""
        self.shared.close(for_good=True)
        self.events.close()

    def leave(self, client: Client) -> None:
        """A client has hung up: stop its chats, its slice and the rest of its batches."""
        self.clients.leave(client)
        self.shared.abandon(client)
        if client.owner is client:
            self.uploads.drop(client)

    def announce(self, name: str, key: int | None = None, **params: object) -> None:
        """Send an event that holds none of the user's words to all subscribers."""
        for client in self.clients.subscribed():
            client.events.put(name, key, **params)

    def _answer(self, value: object, client: Client) -> dict | list[dict] | None:
        if not isinstance(value, list):
            return self._one(value, client)
        if not value:
            raise RpcError(INVALID_REQUEST, "the batch is empty")
        if len(value) > messages.LONGEST_BATCH:
            raise RpcError(TOO_LARGE, f"{len(value)} requests in a batch; {messages.LONGEST_BATCH} are the limit")
        answers = [self._one(part, client) for part in value]
        return [answer for answer in answers if answer is not None] or None

    def _one(self, value: object, client: Client) -> dict | None:
        """The response to one request; None for a notification."""
        try:
            request = messages.request_of(value)
        except RpcError as error:
            return messages.failure(messages.id_of(value), error)
        try:
            response = messages.result(request.id, self._call(request, client))
        except Exception as error:
            response = messages.failure(request.id, self._explained(error))
        return response if request.answered else None

    def _call(self, request: messages.Request, client: Client) -> dict:
        if client.gone:  # what is left of a batch
            raise RpcError(CANCELLED, "the client has hung up")
        method = METHODS.get(request.method)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"no method {request.method[:40]!r}; rpc.discover lists them")
        if client.only and request.method not in client.only:
            raise RpcError(WRONG_USE, f"{request.method} is not for this door, only {', '.join(sorted(client.only))}")
        params = method.check(request.params)
        return method.run(Call(self, request.id, client), **params)

    def _end_conversation(self, session: str) -> None:
        runtime = self.shared.runtime()
        if runtime is not None:
            runtime.conversations.end(session)

    def _explained(self, error: Exception) -> RpcError:
        # The store was closed under a call that was just reading it.
        sqlite3 = sys.modules.get("sqlite3")  # loaded by the first open
        if sqlite3 and isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
            return RpcError(NOT_OPEN, "the runtime was closed meanwhile; call open first")
        explained = of_exception(error)
        if explained.code == INTERNAL_ERROR:
            log.error("a call failed", exc_info=error)
        return explained
