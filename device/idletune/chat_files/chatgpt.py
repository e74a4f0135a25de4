"""ChatGPT's data export: conversations.json, by itself or in the archive that is sent by mail.

An array of conversations, each with a `mapping` of nodes by id. Nodes form a tree, since questions can be edited and
answers written anew; `current_node` is the end of the branch that the user kept. The format is not documented by
OpenAI; github.com/mitkury/chatgpt-export-parser, docs/chatgpt-data-export-format.md, describes it.
"""

from collections.abc import Iterator

from .format import RecordFormat
from .messages import NO_TEXT, Malformed, Message, Skipped, field
from .times import moment

SIDES = {"user": False, "assistant": True}


class ChatGpt(RecordFormat):
    name, title = "chatgpt", "a ChatGPT export"

    def fits(self, record: dict) -> bool:
        return isinstance(record.get("mapping"), dict)

    def messages(self, record: dict) -> Iterator[Message | Skipped]:
        mapping = field(record, "mapping", dict)
        for node in branch(mapping, record.get("current_node") or newest(mapping)):
            if node.get("message") is not None:
                yield from _messages(field(node, "message", dict))


def branch(nodes: dict, last: str | None, parent: str = "parent") -> list[dict]:
    """The nodes from the root to `last`. Malformed for a chain that names no node or closes on itself."""
    found: list[dict] = []
    while last is not None:
        if not isinstance(last, str) or last not in nodes or len(found) > len(nodes):
            raise Malformed("the branch of messages that was kept is broken")
        found.append(node := nodes[last])
        if not isinstance(node, dict):
            raise Malformed("a node is no object")
        last = node.get(parent) or None
    return found[::-1]


def newest(mapping: dict) -> str | None:
    """The leaf that stands last, for exports without a current node."""
    leaves = [id for id, node in mapping.items() if isinstance(node, dict) and not node.get("children")]
    return leaves[-1] if leaves else None


def _messages(message: dict) -> Iterator[Message | Skipped]:
    role = field(field(message, "author", dict), "role", str)
    hidden = field(message, "metadata", dict, {}).get("is_visually_hidden_from_conversation")
    if role not in SIDES or hidden:
        return
    text = _text(field(message, "content", dict))
    if text is None or message.get("recipient") not in (None, "all"):  # else to a tool
        yield Skipped(NO_TEXT)
    elif text.strip():
        yield Message(SIDES[role], text, moment(message.get("create_time")))


def _text(content: dict) -> str | None:
    """The text parts of a message, without its images; None for what is not talk (code, thoughts, results)."""
    if content.get("content_type") not in ("text", "multimodal_text"):
        return None
    texts = [part for part in field(content, "parts", list, []) if isinstance(part, str)]
    return "\n".join(texts) if texts or not content.get("parts") else None
