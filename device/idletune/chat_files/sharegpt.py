"""ShareGPT's JSON: `conversations` (or `conversation`) of `from` and `value`.

Described in github.com/lm-sys/FastChat (docs/training.md) and github.com/hiyouga/LLaMA-Factory (data/README.md).
"""

from collections.abc import Iterator

from .format import RecordFormat
from .messages import Malformed, Message, Skipped, field
from .openai_messages import of_role

SIDES = {"human": False, "user": False, "gpt": True, "assistant": True, "chatgpt": True, "bing": True, "bard": True}
UNHEARD = ("system", "observation", "function_call", "tool", "function")


class ShareGpt(RecordFormat):
    name, title = "sharegpt", "ShareGPT conversations"

    def fits(self, record: dict) -> bool:
        return isinstance(record.get("conversations", record.get("conversation")), list)

    def messages(self, record: dict) -> Iterator[Message | Skipped]:
        for message in field(record, "conversations" if "conversations" in record else "conversation", list):
            if isinstance(message, dict) and "role" in message:
                yield from of_role(message)
                continue
            side, text = field(message, "from", str), field(message, "value", str, "")
            if side in UNHEARD:
                continue
            if side not in SIDES:
                raise Malformed(f"unknown side {side[:40]!r}")
            yield Message(SIDES[side], text)
