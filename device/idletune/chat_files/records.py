"""JSON values of a large file, one at a time: lines (JSONL), the elements of an array, or one object.

Written by hand and not with ijson: `json`'s own scanner tells where an element ends, so that Python alone reads some
times as fast as ijson does without its C library; size and nesting are bounded; and the phone needs no further package.
benchmarks/import_speed.py compares the two.
"""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from ..errors import DamagedDataError
from ..small_files import UTF_16, decode, parse_json
from .source import LONGEST_RECORD, Stream

CHUNK = 1 << 20
SPACE = b" \t\r\n"
NO_SPACE = re.compile(r"[^ \t\r\n]")
MARK = b"\xef\xbb\xbf"  # byte order mark
# A value that goes on behind the text at hand fails in its last characters, or as a string without an end.
LAST, UNFINISHED = 20, "Unterminated string"
CUT = "it ends within a value (it was cut?)"


class Record(NamedTuple):
    """A JSON value and where it is, in the words of an error."""

    value: Any
    place: str


def records(stream: Stream) -> Iterator[Record]:
    """The values; DamagedDataError names the place of what is no JSON, too long or nested too deep."""
    text, skipped = _beginning(stream)
    if text.startswith(b"[") or not _is_lines(text):
        yield from Elements(stream, text).records()
    else:
        yield from _lines(stream, text, skipped)


def _beginning(stream: Stream) -> tuple[bytes, int]:
    """The first bytes that are no white space, and how many lines ended before them."""
    skipped = 0
    data = stream.read(CHUNK)
    if data.startswith(UTF_16):
        raise DamagedDataError(f"{stream.name} seems to be UTF-16; save it as UTF-8")
    data = data.removeprefix(MARK)
    while data:
        text = data.lstrip(SPACE)
        skipped += data[: len(data) - len(text)].count(b"\n")
        if text:
            return text, skipped
        data = stream.read(CHUNK)
    raise DamagedDataError(f"{stream.name} holds nothing but white space; give another file")


def _is_lines(data: bytes) -> bool:
    """Whether this is JSONL: the first line is a value by itself, or it is broken and the second begins as one."""
    line, _, rest = data.partition(b"\n")
    try:
        parse_json(line.decode("utf-8"))
        return True
    except ValueError:
        return rest.lstrip(SPACE).startswith(b"{") or len(line) == len(data) == CHUNK


def _lines(stream: Stream, data: bytes, skipped: int) -> Iterator[Record]:
    """JSONL. `data` was read already and may end within a line; so many empty lines stood before it."""
    at = stream.position - len(data)
    lines = re.findall(rb"[^\n]*\n|[^\n]+", data)
    lines[-1] += b"" if lines[-1].endswith(b"\n") else stream.line()
    for number, line in enumerate(chain(lines, iter(stream.line, b"")), start=skipped + 1):
        if line.strip(SPACE):
            yield _record(line, stream.name, f"line {number}", at)
        at += len(line)


def _record(data: bytes, name: str, place: str, at: int) -> Record:
    text = decode(data, f"{name} {place}", at)
    try:
        return Record(parse_json(text), place)
    except ValueError as error:  # also a number of thousands of digits, or as many brackets
        raise DamagedDataError(f"{name} {place}: not valid JSON ({_reason(error)}); mend or remove it") from None


def _reason(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


class Elements:
    """The elements of an array, or objects that follow each other without one around them.

    An element that does not end in the text at hand is tried again with twice as much.
    """

    def __init__(self, stream: Stream, data: bytes):
        self.stream, self._decoder = stream, codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0  # the text at hand, and where it is read
        self._counted, self._before = 0, stream.position - len(data)  # bytes of the file before this character
        self._json = json.JSONDecoder()
        self._add(data, self._before)

    def records(self) -> Iterator[Record]:
        in_array, number = self._take("["), 0
        while self._begins() and not (in_array and self._take("]")):
            if number and self._take(",") != in_array:
                raise self._wrong("no JSON between the records")
            if not self._begins():
                break
            number += 1
            place = f"record {number} (byte {self._place()})"
            yield Record(self._element(place), place)
        else:
            in_array = in_array and self._text[self._at - 1 : self._at] != "]"
        if in_array:
            raise self._wrong(CUT)
        if self._begins():
            raise self._wrong(f"no JSON ({self._text[self._at : self._at + 20]!r})")

    def _element(self, place: str) -> Any:
        """The value that begins here."""
        while True:
            try:
                value, self._at = self._json.raw_decode(self._text, self._at)
                return value
            except RecursionError:
                raise self._wrong(f"{place}: nested too deep") from None
            except ValueError as error:
                size = len(self._text) - self._at
                at, is_open = getattr(error, "pos", self._at) - self._at, _reason(error).startswith(UNFINISHED)
                if (is_open or at >= size - LAST) and self._read_more():
                    continue
                if is_open or at >= size:
                    raise self._wrong(CUT, self._at + size) from None
                raise self._wrong(f"{place}: not valid JSON ({_reason(error)})", self._at + at) from None

    def _begins(self) -> bool:
        """Go to the next character that is no white space; False at the end of the file."""
        while True:
            found = NO_SPACE.search(self._text, self._at)
            self._at = found.start() if found else len(self._text)
            if found or not self._read_more():
                return found is not None

    def _take(self, sign: str) -> bool:
        """Go past a sign if it is the next."""
        found = self._text.startswith(sign, self._at)
        self._at += found
        return found

    def _read_more(self) -> bool:
        """Let go of what was read, and append as much as there is left, at least a chunk; False at the file's end."""
        self._place()
        self._text, self._at, self._counted = self._text[self._at :], 0, 0
        if len(self._text) > LONGEST_RECORD:
            raise self._wrong(f"a record of more than {LONGEST_RECORD // 2**20} MB")
        at = self.stream.position
        data = self.stream.read(max(CHUNK, len(self._text)))
        self._add(data, at)
        return bool(data)

    def _add(self, data: bytes, at: int) -> None:
        """Append bytes that stand at this place of the file."""
        try:
            self._text += self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            place = f"byte {max(0, at + error.start)}"
            raise DamagedDataError(f"{self.stream.name} is not UTF-8 text at {place}; convert it first") from None

    def _place(self, at: int | None = None) -> int:
        """Bytes of the file before a character of the text at hand, by default the next."""
        at = self._at if at is None else at
        if at >= self._counted:
            self._before += len(self._text[self._counted : at].encode())
            self._counted = at
            return self._before
        return self._before - len(self._text[at : self._counted].encode())

    def _wrong(self, problem: str, at: int | None = None) -> DamagedDataError:
        place = f"at byte {self._place(at)}"
        return DamagedDataError(f"{self.stream.name}: {problem} {place}; mend the file or export it anew")
