"""What the memory benchmarks share: a history of exchanges, and questions whose evidence stands in it."""

from dataclasses import dataclass
from typing import TypeVar

from idletune.dialogue import Exchange

T = TypeVar("T")


@dataclass(frozen=True)
class MemoryQuestion:
    """`evidence` are the numbers of the exchanges that tell the answer; `category` as the data set has it."""

    question: str
    answer: str
    evidence: frozenset[int]
    category: str


@dataclass(frozen=True)
class History:
    """All exchanges of one person, oldest first; a response may be empty."""

    name: str
    exchanges: list[Exchange]
    questions: list[MemoryQuestion]


def text_of(exchange: Exchange) -> str:
    """What is searched of an exchange."""
    return f"{exchange.question}\n{exchange.response}"


def spread(found: list[T], most: int) -> list[T]:
    """So many of them, at equal distances, so that all parts of the data take part."""
    return [found[i * len(found) // most] for i in range(most)] if most < len(found) else found
