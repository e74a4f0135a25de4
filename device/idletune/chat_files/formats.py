"""All formats, and which one a file is of."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from unicodedata import normalize

from ..dialogue import Exchange
from ..errors import DamagedDataError, UsageError
from ..small_files import UTF_16
from .chatgpt import ChatGpt
from .chatter_ui import ChatterUi
from .claude import Claude
from .format import Format, Opening
from .messages import Skipped
from .open_webui import OpenWebUi
from .openai_messages import OpenAiMessages
from .own import Own
from .pairs import Alpaca, Completions
from .pocketpal import PocketPal
from .records import records
from .sharegpt import ShareGpt
from .silly_tavern import SillyTavern
from .source import Part, Source
from .whatsapp import WhatsApp

# In the order in which they are asked; names and records of one do not fit another.
ALL: tuple[Format, ...] = (
    Own(), ChatGpt(), Claude(), OpenWebUi(), PocketPal(), ChatterUi(), OpenAiMessages(), ShareGpt(), SillyTavern(),
    Alpaca(), Completions(), WhatsApp(),
)  # fmt: skip
FORMATS = {format.name: format for format in ALL}
FIRST_RECORDS, FIRST_LINES, FIRST_BYTES = 5, 50, 1 << 16


@dataclass
class ChatFile:
    """A source in its format. `position` counts the bytes read of `size`, while it is read."""

    source: Source
    format: Format
    parts: list[Part]
    _position: list[int] = field(default_factory=lambda: [0])
    _before: int = 0

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def position(self) -> int:
        return min(self.size, self._before + self._position[0])

    def people(self) -> list[str]:
        """The names that `me` must be one of; none where the file says who is who."""
        return list(dict.fromkeys(name for part in self.parts for name in self.format.people(part)))

    def read(self, me: str = "") -> Iterator[Exchange | Skipped]:
        """The exchanges in the file's order, and what is skipped. `me`: see the format.

        DamagedDataError and UsageError name the place.
        """
        if me and not self.format.takes_me:
            raise UsageError(f"{self.source.name} is {self.format.title}, which says who is who; leave --me out")
        me = normalize("NFC", me)
        self._before = 0
        for part in self.parts:
            self._position[0] = 0
            for found in self.format.read(part, me, self._position):
                yield Skipped(found.reason, f"{part.name} {found.place}") if isinstance(found, Skipped) else found
            self._before += part.size


def open_chat_file(source: Source, format: str = "") -> ChatFile:
    """The source in the format that its content shows, or in the one that is named.

    Of an archive, the entries in one format. UsageError for a content that is of no known format.
    """
    parts = source.parts()
    if format:
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
        known = [part for part in parts if FORMATS[format].recognizes(_opening(part))] or parts
        return ChatFile(source, FORMATS[format], known)
    found = [(part, _recognized(part)) for part in parts]
    formats = [format for _, format in found if format]
    if not formats:
        raise _unknown(source, parts)
    return ChatFile(source, formats[0], [part for part, format in found if format is formats[0]])


def read_exchanges(path: Path, user: str | None = None, limit: int | None = None) -> list[Exchange]:
    """The exchanges of a file in any known format; with `user`, in whose view (see --me of the format).

    UsageError where there is no file or no exchange, DamagedDataError for a malformed one; both name the place.
    """
    file = open_chat_file(Source.of(path))
    found = (each for each in file.read(user or "") if isinstance(each, Exchange))
    exchanges = list(islice(found, limit))
    if not exchanges:
        raise UsageError(f"{file.source.name}, {file.format.title}, holds no exchange with a question and an answer")
    return exchanges


def _recognized(part: Part) -> Format | None:
    opening = _opening(part)
    return next((format for format in ALL if format.recognizes(opening)), None)


def _opening(part: Part) -> Opening:
    """The first records of JSON, as far as they are sound, and the first lines."""
    values: list[Any] = []
    with part.stream() as stream:
        start = stream.read(FIRST_BYTES).decode("utf-8", "replace").lstrip("\ufeff")
    if start.lstrip()[:1] in ("{", "["):
        try:
            with part.stream() as stream:
                values += (record.value for record in islice(records(stream), FIRST_RECORDS))
        except DamagedDataError:
            pass  # told where the file is read as a whole
    return Opening(values, start.splitlines()[:FIRST_LINES])


def _unknown(source: Source, parts: list[Part]) -> Exception:
    """The error for a content of no known format: of malformed JSON the place, else what it begins with."""
    opening = _opening(parts[0])
    try:
        with parts[0].stream() as stream:
            start = stream.read(2)
        if start in UTF_16 or opening.is_json and not opening.records:
            with parts[0].stream() as stream:
                next(records(stream), None)
    except DamagedDataError as error:
        return error
    known = ", ".join(format.title for format in ALL)
    return UsageError(f"{source.name} is of no known format, it begins with {opening.shown()}; known: {known}")
