"""PocketPal AI's export: one chat session, an array of them, or a backup with `chats`.

A session has `title`, `date` and `messages`, the newest first; a message has `author` (a fixed id of the user or the
assistant), `text`, `type` and `createdAt` in milliseconds. Source: github.com/a-ghorbani/pocketpal-ai,
src/utils/exportUtils.ts, src/utils/importUtils.ts, src/utils/chat.ts.
"""

from collections.abc import Iterator
from typing import Any

from .format import RecordFormat
from .messages import NO_TEXT, Malformed, Message, Skipped, field
from .times import moment

USER, ASSISTANT = "y9d7f8pgn", "h3o3lc5xj"


class PocketPal(RecordFormat):
    name, title = "pocketpal", "a PocketPal export"

    def fits(self, record: dict) -> bool:
        if record.get("encrypted") is True and "encryption" in record:
            return True
        return any(_is_session(session) for session in _sessions(record))

    def messages(self, record: dict) -> Iterator[Message | Skipped]:
        if record.get("encrypted") is True:
            raise Malformed("an encrypted backup; export it without a password")
        for session in _sessions(record):
            yield from _of_session(session)


def _sessions(record: dict) -> list[Any]:
    chats = record.get("chats")
    return chats if isinstance(chats, list) else [record]


def _is_session(session: Any) -> bool:
    messages = session.get("messages") if isinstance(session, dict) else None
    return isinstance(messages, list) and any(isinstance(m, dict) and "author" in m for m in messages)


def _of_session(session: Any) -> Iterator[Message | Skipped]:
    messages = field(session, "messages", list)[::-1]
    times = [moment(message.get("createdAt")) if isinstance(message, dict) else None for message in messages]
    known = [at for at in times if at is not None]
    if known and known[0] > known[-1]:  # written the oldest first, as by hand or by another version
        messages, times = messages[::-1], times[::-1]
    for message, at in zip(messages, times):
        author = message.get("author") if isinstance(message, dict) else None
        author = author.get("id") if isinstance(author, dict) else author
        text = _text(message)
        if text is None or field(message, "metadata", dict, {}).get("system") is True:
            yield Skipped(NO_TEXT)
        elif text.strip():
            if author not in (USER, ASSISTANT):
                raise Malformed("a message whose author is neither the user nor the assistant")
            yield Message(author == ASSISTANT, text, at)


def _text(message: Any) -> str | None:
    """A text's own, or that of the steps of an assistant's turn; None for images and files."""
    kind = field(message, "type", str, "text")
    if kind == "assistant_turn":
        steps = message.get("steps") or field(message, "metadata", dict, {}).get("steps") or []
        texts = [step.get("content") for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
        return "\n".join(text for text in texts if isinstance(text, str)) or field(message, "text", str, "")
    return field(message, "text", str, "") if kind == "text" else None
