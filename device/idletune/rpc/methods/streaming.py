"""An answer that is sent in pieces while it is written."""

import itertools
from collections.abc import Callable

from .declaration import Call

_serial = itertools.count()  # tells two requests with the same id apart


class Stream:
    """Sends the pieces of one answer to its client; nothing where it did not ask for them."""

    def __init__(self, call: Call, completion: str, wanted: bool):
        self._call, self._completion, self._wanted, self._key = call, completion, wanted, next(_serial)

    @property
    def on_text(self) -> Callable[[str], None] | None:
        return self._sender("event.chat_text")

    @property
    def on_thought(self) -> Callable[[str], None] | None:
        return self._sender("event.chat_thought")

    def _sender(self, event: str) -> Callable[[str], None] | None:
        def send(part: str) -> None:
            call = self._call
            call.client.events.put(event, self._key, request_id=call.id, text=part, completion=self._completion)

        return send if self._wanted else None
