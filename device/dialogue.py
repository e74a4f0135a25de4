"""What every part speaks of: the dialogue set (a question and its response) and files of them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import DamagedDataError, UsageError


@dataclass(frozen=True)
class Exchange:
    """One question of the user and the reference response, as conversation files hold them."""

    question: str
    response: str
    user: str = ""


class TokenEmbeddings(NamedTuple):
    """The last-layer embeddings of an exchange's tokens, float32 (n, hidden) each; a reply may have none."""

    question: np.ndarray
    reply: np.ndarray

    @property
    def both(self) -> np.ndarray:
        return np.concatenate(self)


@dataclass
class Scores:
    """The three selection scores of a dialogue set, all higher is better (DAC 2024, section 3)."""

    eoe: float  # entropy of embedding
    dss: float  # domain specific score
    idd: float  # in-domain dissimilarity


@dataclass
class DialogueSet:
    """A question, the model's own reply, and what selection knows about them.

    `embedding` is the unit-length float32 vector of the text, shape (hidden,), `question_embedding` that of the
    question alone, where it is known. `response` is the user's preferred answer, None until the user was asked.
    """

    question: str
    reply: str
    domain: str
    embedding: np.ndarray
    scores: Scores
    id: int | None = None
    response: str | None = None
    created: float = 0.0
    tags: dict = field(default_factory=dict)
    question_embedding: np.ndarray | None = None


def read_exchanges(path: Path, user: str | None = None, limit: int | None = None) -> list[Exchange]:
    """Read a JSONL file of objects with `question` and `response` (and optionally `user`).

    Raises UsageError for a missing file, an empty side or an unknown user, and DamagedDataError
    for a malformed line; both name the line.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no conversation file at {path}; give a JSONL file with one exchange a line")
    exchanges, users = [], set()
    with path.open(encoding="utf-8-sig", errors="strict") as lines:  # editors on Windows put a mark in front
        for number, line in _numbered_lines(lines, path):
            exchange = _parse_line(line, f"{path.name} line {number}")
            users.add(exchange.user)
            if user is None or exchange.user == user:
                exchanges.append(exchange)
    if user is not None and not exchanges:
        known = ", ".join(sorted(u for u in users if u)[:20]) or "none named"
        raise UsageError(f"no exchange of user {user!r} in {path.name}; its users: {known}")
    if not exchanges:
        raise UsageError(f"{path.name} holds no exchange; one JSON object a line is expected")
    return exchanges[:limit]


def _numbered_lines(lines, path: Path):
    try:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line
    except UnicodeDecodeError as error:
        raise DamagedDataError(f"{path.name} is not UTF-8 text at byte {error.start}; convert it first") from None


def _parse_line(line: str, where: str) -> Exchange:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, or as many brackets
        reason = getattr(error, "msg", error)
        raise DamagedDataError(f"{where}: not valid JSON ({reason}); mend or remove the line") from None
    if not isinstance(record, dict):
        raise DamagedDataError(f"{where}: an object is expected, not {type(record).__name__}; mend or remove the line")
    for side in ("question", "response"):
        text = record.get(side)
        if not isinstance(text, str):
            raise DamagedDataError(f"{where}: {side!r} is missing or not text; mend or remove the line")
        if not text.strip():
            raise UsageError(f"{where}: empty {side}; mend or remove the line")
    return Exchange(record["question"].strip(), record["response"].strip(), str(record.get("user", "")))
