"""What a format is: a name, how it is recognized, and how its texts are read."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..dialogue import Exchange
from ..errors import DamagedDataError
from ..plain_text import one_line
from .messages import Malformed, Message, Skipped, exchanges
from .records import records
from .source import Part


@dataclass(frozen=True)
class Opening:
    """The beginning of a text: its first JSON values, or its first lines where it is no JSON."""

    records: list[Any]
    lines: list[str]

    @property
    def is_json(self) -> bool:
        return "".join(self.lines).lstrip()[:1] in ("{", "[")

    def shown(self) -> str:
        """What it begins with, for an error."""
        first = next((record for record in self.records if isinstance(record, dict)), None)
        if first is not None:
            return f"records of {', '.join(one_line(name, 20) for name in list(first)[:5]) or 'nothing'}"
        return f"the line {one_line(self.lines[0], 60)!r}" if self.lines else "nothing"


class Format(ABC):
    """A format of conversations. `name` is what --format takes, `title` what a person reads."""

    name: str
    title: str
    takes_me: bool = False  # whether --me names a side of the conversation

    @abstractmethod
    def recognizes(self, opening: Opening) -> bool:
        """Whether a text that begins so is of this format."""

    @abstractmethod
    def read(self, part: Part, me: str, position: list[int]) -> Iterator[Exchange | Skipped]:
        """The exchanges in the file's order, and what is skipped; `position[0]` is set to the bytes read."""

    def people(self, part: Part) -> list[str]:
        """The names that --me must be one of, the most frequent first; none where the format says who is who."""
        return []


class RecordFormat(Format):
    """JSON, with a whole conversation in each record."""

    @abstractmethod
    def fits(self, record: dict) -> bool:
        """Whether a JSON object is a conversation of this format."""

    @abstractmethod
    def messages(self, record: dict) -> Iterable[Message | Skipped]:
        """Its messages, the oldest first. Malformed where it is not what the format says."""

    def recognizes(self, opening: Opening) -> bool:
        return any(isinstance(record, dict) and self.fits(record) for record in opening.records)

    def exchanges(self, record: dict, place: str) -> Iterator[Exchange | Skipped]:
        """Those of one record."""
        return exchanges(self.messages(record), place)

    def read(self, part: Part, me: str, position: list[int]) -> Iterator[Exchange | Skipped]:
        with part.stream() as stream:
            for value, place in records(stream):
                position[0] = stream.position
                try:
                    if not isinstance(value, dict):
                        raise Malformed(f"an object is expected, not {type(value).__name__}")
                    yield from self.exchanges(value, place)
                except Malformed as error:
                    problem = f"{part.name} {place}: not {self.title} ({error})"
                    raise DamagedDataError(f"{problem}; mend or remove it") from None
