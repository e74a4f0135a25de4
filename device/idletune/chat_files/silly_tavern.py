"""SillyTavern's chats: JSONL, a line about the chat (`user_name`, `character_name`) and then a message a line.

A message has `name`, `is_user`, `is_system`, `send_date` and `mes`; of several answers (`swipes`) `mes` is the one
that was kept. Source: docs.sillytavern.app/usage/core-concepts/chatfilemanagement and SillyTavern's own files.
"""

from collections.abc import Iterator

from ..dialogue import Exchange
from ..errors import DamagedDataError
from .format import Format, Opening
from .messages import Malformed, Message, Skipped, exchanges, field
from .records import records
from .source import Part
from .times import moment


class SillyTavern(Format):
    name, title = "sillytavern", "a SillyTavern chat"

    def recognizes(self, opening: Opening) -> bool:
        return any(
            isinstance(record, dict) and ("is_user" in record and "mes" in record or "character_name" in record)
            for record in opening.records
        )

    def read(self, part: Part, me: str, position: list[int]) -> Iterator[Exchange | Skipped]:
        with part.stream() as stream:
            yield from exchanges(_messages(part, stream, position))


def _messages(part: Part, stream, position: list[int]) -> Iterator[Message | Skipped]:
    for value, place in records(stream):
        position[0] = stream.position
        try:
            if isinstance(value, dict) and "mes" not in value and ("user_name" in value or "chat_metadata" in value):
                continue  # the line about the chat
            text, is_user = field(value, "mes", str), field(value, "is_user", bool, False)
        except Malformed as error:
            problem = f"{part.name} {place}: no message of a SillyTavern chat ({error})"
            raise DamagedDataError(f"{problem}; mend or remove it") from None
        if field(value, "is_system", bool, False) is True:
            yield Skipped("a message hidden from the chat", place)
        else:
            yield Message(not is_user, text, moment(value.get("send_date")))
