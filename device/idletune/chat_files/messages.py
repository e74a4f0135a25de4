"""Messages to exchanges: what one side says, and what the other answers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..dialogue import Exchange
from ..small_files import half_character

NO_TEXT = "no text (an image, a tool's call, a setting)"
NO_ANSWER = "no answer to it"
NO_QUESTION = "an answer without a question"
EMPTY = "an empty side"
HALF = "half a character"
TOO_LONG = "longer than 64 KB"
LONGEST = 64 * 1024  # bytes of a side; a dialogue set holds less


class Malformed(ValueError):
    """A record is not what its format says; the text tells what was expected."""


@dataclass(frozen=True)
class Message:
    """`answers` says whose it is; `at` is when, in seconds since 1970."""

    answers: bool
    text: str
    at: float | None = None


@dataclass(frozen=True)
class Skipped:
    """A message or an exchange of no use, and why."""

    reason: str
    place: str = ""


def field(record: Any, name: str, kind: type, default: Any = None) -> Any:
    """A field of a JSON object. Malformed where it is of another type, or is missing and has no default."""
    if not isinstance(record, dict):
        raise Malformed(f"an object with {name!r} is expected, not {type(record).__name__}")
    value = record.get(name, default)
    if value is None:
        value = default
    if not isinstance(value, kind) or value is None:
        raise Malformed(f"{name!r} is missing or of the wrong type")
    return value


def exchange(question: str, answer: str, at: float | None, place: str, user: str = "") -> Exchange | Skipped:
    """An exchange out of two texts, or why it is none."""
    question, answer = clean(question), clean(answer)
    if not question or not answer:
        return Skipped(EMPTY, place)
    if half_character(question + answer) is not None:
        return Skipped(HALF, place)
    if max(len(question.encode()), len(answer.encode())) > LONGEST:
        return Skipped(TOO_LONG, place)
    return Exchange(question, answer, user, at)


def clean(text: str) -> str:
    """The text with one kind of line end and without zero bytes, at which C libraries stop reading."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").strip()


def exchanges(
    messages: Iterable[Message | Skipped], place: str = "", longest_gap: float | None = None
) -> Iterator[Exchange | Skipped]:
    """Each side's messages in a row are one text. After `longest_gap` seconds a message belongs to another talk."""
    pairing = _Pairing(place, longest_gap)
    for message in messages:
        if isinstance(message, Skipped):
            yield Skipped(message.reason, message.place or place)
        elif (done := pairing.add(message)) is not None:
            yield done
    if (last := pairing.end()) is not None:
        yield last


class _Pairing:
    """The question and the answer that are being gathered."""

    def __init__(self, place: str, longest_gap: float | None):
        self.place, self.longest_gap = place, longest_gap
        self.question: list[Message] = []
        self.answer: list[Message] = []

    def add(self, message: Message) -> Exchange | Skipped | None:
        """What ends with this message's beginning, if anything does."""
        if self._is_far(message):
            done = self.end()
            (self.answer if message.answers else self.question).append(message)
            return done
        if message.answers:
            self.answer.append(message)
            return None
        done = self.end() if self.answer else None
        self.question.append(message)
        return done

    def end(self) -> Exchange | Skipped | None:
        question, answer, self.question, self.answer = self.question, self.answer, [], []
        if question and answer:
            return exchange(_joined(question), _joined(answer), answer[0].at or question[0].at, self.place)
        if question or answer:
            return Skipped(NO_ANSWER if question else NO_QUESTION, self.place)
        return None

    def _is_far(self, message: Message) -> bool:
        last = (self.answer or self.question or [message])[-1]
        known = self.longest_gap is not None and message.at is not None and last.at is not None
        return known and message.at - last.at > self.longest_gap  # type: ignore[operator]


def _joined(messages: list[Message]) -> str:
    return "\n".join(message.text for message in messages)
