"""OpenAI's fine-tuning files: JSONL with a list of `messages` a line, each with `role` and `content`.

Source: platform.openai.com/docs/guides/supervised-fine-tuning, "Formatting your data". An assistant's message with
"weight": 0 is there for context and is not learned.
"""

from collections.abc import Iterator
from typing import Any

from .format import RecordFormat
from .messages import NO_TEXT, Malformed, Message, Skipped, field
from .times import moment

SIDES = {"user": False, "human": False, "assistant": True, "model": True, "gpt": True}
UNHEARD = ("system", "developer", "tool", "function")


class OpenAiMessages(RecordFormat):
    name, title = "openai", "OpenAI fine-tuning messages"

    def fits(self, record: dict) -> bool:
        messages = record.get("messages")
        return isinstance(messages, list) and any(isinstance(m, dict) and "role" in m for m in messages)

    def messages(self, record: dict) -> Iterator[Message | Skipped]:
        for message in field(record, "messages", list):
            yield from of_role(message)


def of_role(message: Any, time: str = "timestamp") -> Iterator[Message | Skipped]:
    """A message with `role` and `content`, as several programs write them."""
    role = field(message, "role", str)
    if role in UNHEARD:
        return
    if role not in SIDES:
        raise Malformed(f"unknown role {role[:40]!r}")
    text = plain(message.get("content"))
    if text is None or message.get("weight") == 0:
        yield Skipped(NO_TEXT)
    elif text.strip():
        yield Message(SIDES[role], text, moment(message.get(time)))


def plain(content: Any) -> str | None:
    """The text of a content: a string, or the text parts of a list; None where it has none."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        return "\n".join(texts) if texts else None
    if content is None:
        return None
    raise Malformed("content is neither text nor a list of parts")
