"""Files that clients send in pieces, in memory alone: no word of theirs is on the disk before it is encrypted."""

import base64
import binascii
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from ..chat_files import Source
from ..plain_text import one_line
from .clients import Client
from .errors import INVALID_PARAMS, TOO_LARGE, WRONG_USE, RpcError

LARGEST_PIECE = 768 * 1024  # characters of Base64, so that a request stays below its limit
LARGEST_UPLOADS = 64 * 2**20  # bytes of all that are held
MOST_UPLOADS = 16
LONGEST_NAME = 255


@dataclass
class Upload:
    """A file as far as it was sent."""

    owner: Client
    name: str
    data: bytearray = field(default_factory=bytearray)


class Uploads:
    """All uploads of a dispatcher. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.held: OrderedDict[int, Upload] = OrderedDict()
        self._next = 1

    def add(self, client: Client, number: int | None, piece: str, name: str = "") -> tuple[int, int]:
        """Append a piece in Base64, to a new file where no number is given; returns the file's number and size.

        RpcError for what is no Base64, or too much.
        """
        try:
            data = base64.b64decode(piece, validate=True)
        except (binascii.Error, ValueError):
            raise RpcError(INVALID_PARAMS, "parameter data is not Base64") from None
        with self._lock:
            if sum(len(held.data) for held in self.held.values()) + len(data) > LARGEST_UPLOADS:
                limit = f"{LARGEST_UPLOADS // 2**20} MB"
                raise RpcError(TOO_LARGE, f"uploads take more than {limit}; give the file by its path instead")
            number = self._begin(client, name) if number is None else number
            upload = self._of(client, number)
            upload.data += data
            return number, len(upload.data)

    def source(self, client: Client, number: int) -> Source:
        """The file, to be read. RpcError for an unknown number."""
        with self._lock:
            upload = self._of(client, number)
            return Source(upload.name, data=bytes(upload.data))

    def drop(self, client: Client, number: int | None = None) -> None:
        """Let go of one, or of all of a client's; requests of one owner share them (Client)."""
        with self._lock:
            for each in [n for n, u in self.held.items() if u.owner is client.owner and number in (None, n)]:
                del self.held[each]

    def _begin(self, client: Client, name: str) -> int:
        """A new, empty file; the oldest one of this client makes room where it has too many."""
        own = [number for number, upload in self.held.items() if upload.owner is client.owner]
        if len(own) >= MOST_UPLOADS:
            del self.held[own[0]]
        number, self._next = self._next, self._next + 1
        self.held[number] = Upload(client.owner, one_line(name, LONGEST_NAME) or "unnamed")
        return number

    def _of(self, client: Client, number: int) -> Upload:
        upload = self.held.get(number)
        if upload is None or upload.owner is not client.owner:
            raise RpcError(WRONG_USE, f"no upload {number} of this client; begin one without a number")
        return upload
