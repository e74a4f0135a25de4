"""A phone as the computer's ClientApp sees it: its methods, by JSON-RPC over a Unix socket.

The socket is the phone's own (`idletune serve --fleet-socket`), or one that ssh forwards to it. Nothing here
clips or adds noise: what comes from the phone has both.
"""

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PIECE_BYTES = 512 * 1024  # of a vector in one request
PATIENCE = 600.0  # seconds for an answer: a slice of learning takes eight minutes at most


class PhoneError(Exception):
    """The phone refused a call, or cannot be reached."""


@dataclass
class Phone:
    """Calls over one connection."""

    connection: socket.socket
    calls: int = 0

    def call(self, method: str, **params: Any) -> dict:
        """The result of a method. PhoneError for an error."""
        self.calls += 1
        request = {"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params}
        try:
            self.connection.sendall(json.dumps(request).encode() + b"\n")
            response = self._response()
        except OSError as error:
            raise PhoneError(
                f"the phone hung up ({error}); is `idletune serve --fleet-socket` running there?"
            ) from None
        if "error" in response:
            raise PhoneError(response["error"]["message"])
        return response["result"]

    def is_ready(self, terms: str) -> bool:
        """Whether it would take part in a round on these terms now."""
        found = self.call("fleet")
        return found["ready"] and found["terms"] == terms

    def update(self, terms: str, a_sha256: str, shared: np.ndarray) -> tuple[np.ndarray | None, str]:
        """The shared half with this phone's change, float32 (n,), or None; and why."""
        found = self.call("fleet_update", terms=terms, a_sha256=a_sha256, upload=self._upload(shared))
        if found["values"] is None:
            return None, found["reason"]
        return np.frombuffer(base64.b64decode(found["values"]), "<f4"), found["reason"]

    def loss(self, terms: str, a_sha256: str, shared: np.ndarray) -> float:
        """The loss of its held-out answers under the shared adapter, rounded to 0.1 nats per token."""
        return self.call("fleet_loss", terms=terms, a_sha256=a_sha256, upload=self._upload(shared))["loss"]

    def _upload(self, values: np.ndarray) -> int:
        data = values.astype("<f4").tobytes()
        number: dict[str, int] = {}
        for start in range(0, len(data), PIECE_BYTES):
            piece = base64.b64encode(data[start : start + PIECE_BYTES]).decode()
            number = {"upload": self.call("upload", data=piece, **number)["upload"]}
        return number["upload"]

    def _response(self) -> dict:
        """The next line with this call's id; events are passed over."""
        while True:
            line = self._line()
            found = json.loads(line)
            if found.get("id") == self.calls:
                return found

    def _line(self) -> bytes:
        held = bytearray()
        while not held.endswith(b"\n"):
            part = self.connection.recv(1 << 20)
            if not part:
                raise OSError("end of the connection")
            held += part
        return bytes(held).rstrip(b"\n").rpartition(b"\n")[2]


@contextmanager
def reached(path: Path) -> Iterator[Phone]:
    """A phone at a Unix socket. PhoneError where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    with connection:
        try:
            connection.connect(str(path))
        except OSError as error:
            raise PhoneError(f"no phone at {path} ({error.strerror}); start `idletune serve --fleet-socket`") from None
        yield Phone(connection)
