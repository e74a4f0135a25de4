"""IdleTune's own JSONL: an object with `question` and `response`, and optionally `user`, on each line.

`--me` takes the exchanges of one user alone.
"""

from collections.abc import Iterable, Iterator
from unicodedata import normalize

from ..dialogue import Exchange
from ..errors import UsageError
from ..small_files import half_character
from .format import RecordFormat
from .messages import Malformed, Message, Skipped, exchange, field
from .source import Part
from .times import moment

MOST_USERS = 20  # told of


class Own(RecordFormat):
    name, title = "idletune", "IdleTune's own exchanges"
    takes_me = True

    def fits(self, record: dict) -> bool:
        return "question" in record and "response" in record

    def messages(self, record: dict) -> Iterable[Message | Skipped]:
        return [Message(name == "response", field(record, name, str)) for name in ("question", "response")]

    def read(self, part: Part, me: str, position: list[int]) -> Iterator[Exchange | Skipped]:
        users: set[str] = set()
        for found in super().read(part, me, position):
            if isinstance(found, Exchange) and me:
                users.add(found.user)
                if found.user != me:
                    continue
            yield found
        if me and me not in users:
            known = ", ".join(sorted(filter(None, users))[:MOST_USERS]) or "none named"
            raise UsageError(f"no exchange of user {me!r} in {part.name}; its users: {known}")

    def exchanges(self, record: dict, place: str) -> Iterator[Exchange | Skipped]:
        user = normalize("NFC", str(record.get("user", "")))
        for side in ("question", "response"):
            if not field(record, side, str).strip():
                raise Malformed(f"empty {side}")
        for side, text in (("question", record["question"]), ("response", record["response"]), ("user", user)):
            if (at := half_character(text)) is not None:
                raise Malformed(f"half a character at position {at} of {side!r}")
        yield exchange(record["question"], record["response"], moment(record.get("at")), place, user)
