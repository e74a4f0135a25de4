"""Open WebUI's export: an array of chats, each with `chat.history.messages` by id and `currentId`.

As in ChatGPT's, messages form a tree by `parentId`, and `currentId` ends the branch that was kept; older exports have
`chat.messages` as a list alone. Source: github.com/open-webui/open-webui, src/lib/components/chat/Settings and
src/lib/utils (createMessagesList).
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from .chatgpt import branch
from .format import RecordFormat
from .messages import Message, Skipped, field
from .openai_messages import of_role

# What a model thought before its answer, as Open WebUI keeps it in the message's text.
THOUGHTS = re.compile(r"\A\s*<details type=\"reasoning\".*?</details>", re.DOTALL)


class OpenWebUi(RecordFormat):
    name, title = "openwebui", "an Open WebUI export"

    def fits(self, record: dict) -> bool:
        chat = record.get("chat")
        return isinstance(chat, dict) and ("history" in chat or "messages" in chat)

    def messages(self, record: dict) -> Iterator[Message | Skipped]:
        chat = field(record, "chat", dict)
        history = field(chat, "history", dict, {})
        kept = branch(field(history, "messages", dict, {}), history.get("currentId") or None, "parentId")
        for message in kept or field(chat, "messages", list, []):
            for said in of_role(message):
                yield replace(said, text=THOUGHTS.sub("", said.text)) if isinstance(said, Message) else said
