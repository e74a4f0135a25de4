"""WhatsApp's exported chats: a text file, or `_chat.txt` in an archive.

A message begins with a date, a time and a name, and goes on until the next one begins:

    12/03/22, 14:08 - Anna: text                 Android; 2:08 PM with 12 hours
    [12.03.22, 14:08:59] Anna: text              iPhone

The app writes dates and times as the phone's region has them, puts direction marks and narrow no-break spaces between
them, and lines of its own (media, deleted messages, notices) among the messages; the iPhone's begin with U+200E. No
document of WhatsApp says so: faq.whatsapp.com tells how to export; the forms are those that exports have.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from unicodedata import normalize

from ..dialogue import Exchange
from ..errors import DamagedDataError, UsageError
from ..plain_text import one_line
from ..small_files import UTF_16, decode
from .format import Format, Opening
from .messages import LONGEST, TOO_LONG, Message, Skipped, exchanges
from .source import Part, Stream
from .times import local

MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"  # direction, byte order
MARK = re.compile(f"[{MARKS}]")
LEFT_TO_RIGHT = "\u200e"
SPACE = r"[\s\u202f\u00a0]"
BEGINNING = re.compile(
    rf"\[?(\d{{1,4}})[./-]{SPACE}?(\d{{1,2}})[./-]{SPACE}?(\d{{1,4}})\.?(?:[,\u060c]|{SPACE}(?:klo|um|at|kl\.))?{SPACE}+"
    rf"(\d{{1,2}})[:.](\d{{2}})(?:[:.](\d{{2}}))?(?:{SPACE}?([ap]\.?{SPACE}?m\.?|[\u0635\u0645]))?"
    rf"(?:\]{SPACE}?|{SPACE}[-\u2013]{SPACE})",
    re.IGNORECASE,
)
AFTERNOON = "pP\u0645"
MEDIA = re.compile(r"<[^<>\n]{1,60}>|\S+\.\w{2,4} \([^()\n]+\)|null", re.IGNORECASE)
DELETED = ("This message was deleted", "You deleted this message")
EDITED = re.compile(r"\s*\u200e?<[^<>\n]*edited[^<>\n]*>\Z")
APPS_OWN, NOTICE = "media, or a deleted message", "a notice of the app"
LONGEST_STAMP = 64  # characters of date and time, marks included
MOST_NAMES = 20  # told of
LONGEST_TALK = 12 * 3600.0  # seconds: what comes later answers nothing before


class Line(NamedTuple):
    """A line that begins a message: three numbers of its date as they stand, its time, name and text."""

    date: tuple[int, int, int]
    time: tuple[int, int, int]
    name: str  # "" for a notice of the app
    text: str
    twelve_hours: bool


class WhatsApp(Format):
    name, title = "whatsapp", "a WhatsApp chat"
    takes_me = True

    def recognizes(self, opening: Opening) -> bool:
        begun = [line for line in opening.lines if parse_line(line)]
        return bool(begun) and parse_line(next(filter(str.strip, opening.lines))) is not None

    def people(self, part: Part) -> list[str]:
        return [name for name, _ in Survey.of(part).names.most_common(MOST_NAMES) if name]

    def read(self, part: Part, me: str, position: list[int]) -> Iterator[Exchange | Skipped]:
        survey = Survey.of(part)
        name = survey.name_of(me, part.name)
        with part.stream() as stream:
            yield from exchanges(_messages(stream, name, survey.order, position), longest_gap=LONGEST_TALK)


def parse_line(text: str) -> Line | None:
    """The line as the beginning of a message; None for one that goes on with the message before."""
    stamp = _stamp(text)
    if stamp is None:
        return None
    found, end = stamp
    first, second, third, hour, minute, after, half = found.groups()
    hours = int(hour)
    if half:
        hours = hours % 12 + 12 * (half[0] in AFTERNOON)
    rest = text[end:]
    name, colon, said = rest.partition(":")
    if not colon or len(name) > 100 or said[:1] not in ("", " ", "\n"):
        name, said = "", rest
    date = int(first), int(second), int(third)
    return Line(date, (hours, int(minute), int(after or 0)), _plain_name(name), said.removeprefix(" "), bool(half))


def _stamp(text: str) -> tuple[re.Match[str], int] | None:
    """Date and time at the beginning of a line, and where they end. Marks may stand anywhere among them."""
    if MARK.search(text, 0, LONGEST_STAMP) is None:
        found = BEGINNING.match(text)
        return (found, found.end()) if found else None
    kept = [at for at, character in enumerate(text[:LONGEST_STAMP]) if character not in MARKS]
    found = BEGINNING.match("".join(text[at] for at in kept))
    return (found, kept[found.end() - 1] + 1) if found else None


class Survey(NamedTuple):
    """What the whole file tells: the order of its dates, and who wrote how much."""

    order: tuple[int, int, int]  # places of year, month and day
    names: Counter[str]

    @classmethod
    def of(cls, part: Part) -> "Survey":
        dates, names, twelve = Dates(), Counter[str](), False
        with part.stream() as stream:
            for number, text in lines(stream):
                if (line := parse_line(text)) is None:
                    continue
                dates.add(line.date)
                names[line.name] += bool(line.name)
                twelve = twelve or line.twelve_hours
                if len(names) > 10_000:
                    raise DamagedDataError(f"{part.name} line {number}: too many names; it is no chat")
        if not dates.last:
            raise DamagedDataError(
                f"{part.name}: no line begins with a date, a time and a name; it is no WhatsApp chat"
            )
        return cls(dates.order(twelve), names)

    def name_of(self, me: str, file: str) -> str:
        """The name that `me` has in the file. UsageError where it is none of those."""
        known = {name.casefold(): name for name in self.names if name}
        if (found := known.get(_plain_name(me).casefold())) is not None:
            return found
        told = ", ".join(one_line(name, 40) for name, _ in self.names.most_common(MOST_NAMES) if name)
        problem = f"{file}: nobody in it is called {me!r}" if me else f"{file}: say who you are in it"
        raise UsageError(f"{problem}, with --me and one of: {told}")


class Dates:
    """Which of the numbers are year, month and day: those that cannot be told by size by their running on."""

    def __init__(self) -> None:
        self.last: tuple[int, int, int] | None = None
        self.largest = [0, 0, 0]
        self.back = {(2, 1, 0): 0, (2, 0, 1): 0}  # how often the time would run back, day first and month first

    def add(self, date: tuple[int, int, int]) -> None:
        self.largest = [max(pair) for pair in zip(self.largest, date)]
        for order in self.back:
            if self.last and _sorted(date, order) < _sorted(self.last, order):
                self.back[order] += 1
        self.last = date

    def order(self, twelve_hours: bool) -> tuple[int, int, int]:
        if self.largest[0] > 31:
            return 0, 1, 2
        if self.largest[0] > 12 or self.largest[1] > 12:
            return (2, 1, 0) if self.largest[0] > 12 else (2, 0, 1)
        day_first, month_first = self.back.values()
        if day_first == month_first:  # 12 hours are written where months come first
            return (2, 0, 1) if twelve_hours else (2, 1, 0)
        return (2, 1, 0) if day_first < month_first else (2, 0, 1)


def lines(stream: Stream) -> Iterator[tuple[int, str]]:
    """The lines without their ends, numbered from 1. DamagedDataError for bytes that are no UTF-8."""
    number = 0
    while data := stream.line():
        number += 1
        if number == 1 and data.startswith(UTF_16):
            raise DamagedDataError(f"{stream.name} seems to be UTF-16; save it as UTF-8")
        yield number, decode(data, f"{stream.name} line {number}").rstrip("\r\n")


def _messages(stream: Stream, me: str, order: tuple[int, int, int], position: list[int]) -> Iterator[Message | Skipped]:
    begun: Line | None = None
    text: list[str] = []
    size, begun_at = 0, 0
    for number, raw in lines(stream):
        position[0] = stream.position
        line = parse_line(raw)
        if line is None:
            size += len(raw)
            if size <= LONGEST:
                text.append(raw)
            continue
        if begun is not None:
            yield _message(begun, text, size, me, order, f"line {begun_at}")
        elif text:
            yield Skipped("before the first message", "line 1")
        begun, text, size, begun_at = line, [line.text], len(line.text), number
    if begun is not None:
        yield _message(begun, text, size, me, order, f"line {begun_at}")


def _message(
    line: Line, texts: list[str], size: int, me: str, order: tuple[int, int, int], place: str
) -> Message | Skipped:
    text = EDITED.sub("", "\n".join(texts))
    if not line.name:
        return Skipped(NOTICE, place)
    if size > LONGEST:
        return Skipped(TOO_LONG, place)
    if text.startswith(LEFT_TO_RIGHT) or MEDIA.fullmatch(text.strip()) or text.strip().rstrip(".") in DELETED:
        return Skipped(APPS_OWN, place)
    year, month, day = _sorted(line.date, order)
    at = local(year + 2000 if year < 100 else year, month, day, *line.time)
    return Message(line.name == me, text, at)


def _sorted(date: tuple[int, int, int], order: tuple[int, int, int]) -> tuple[int, int, int]:
    """Year, month and day."""
    year, month, day = (date[place] for place in order)
    return year, month, day


def _plain_name(name: str) -> str:
    """Without direction marks and the tilde before a name that is not in the address book."""
    return normalize("NFC", MARK.sub("", name)).strip().removeprefix("~").strip(" \u202f\u00a0")
