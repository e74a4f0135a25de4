"""Claude's data export: conversations.json, an array with `chat_messages` of `sender` and `text`.

The format is not documented by Anthropic; github.com/simonw/claude-to-sqlite reads it.
"""

from collections.abc import Iterator

from .format import RecordFormat
from .messages import NO_TEXT, Malformed, Message, Skipped, field
from .openai_messages import plain
from .times import moment

SIDES = {"human": False, "assistant": True}


class Claude(RecordFormat):
    name, title = "claude", "a Claude export"

    def fits(self, record: dict) -> bool:
        return isinstance(record.get("chat_messages"), list)

    def messages(self, record: dict) -> Iterator[Message | Skipped]:
        for message in field(record, "chat_messages", list):
            side = field(message, "sender", str)
            if side not in SIDES:
                raise Malformed(f"unknown sender {side[:40]!r}")
            text = field(message, "text", str, "") or plain(message.get("content"))
            if text:
                yield Message(SIDES[side], text, moment(message.get("created_at")))
            else:
                yield Skipped(NO_TEXT)
