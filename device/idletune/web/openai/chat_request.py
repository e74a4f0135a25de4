"""The body of POST /v1/chat/completions: checked, and turned into the parameters of the method `complete`."""

from typing import Any

from .checks import Asked, refuse, unsupported, wrong

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# What is not done here, with the values that ask for nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "web_search_options": (None,),
}


def chat_request(body: dict) -> Asked:
    """What the client asked for. Refused (400) for what is wrong, or not done here."""
    refuse(body, REFUSED)
    return Asked.of(body, {"messages": _messages(body.get("messages"))})


def _messages(value: object) -> list[dict]:
    if not isinstance(value, list) or not value:
        raise wrong("messages", "is to be a list of messages, at least one")
    return [_message(f"messages[{place}]", message) for place, message in enumerate(value)]


def _message(where: str, message: object) -> dict:
    if not isinstance(message, dict):
        raise wrong(where, "is to be an object")
    role = message.get("role")
    if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
        raise unsupported(where, "has to do with tools, which are not supported here")
    if not isinstance(role, str) or role not in ROLES:
        raise wrong(f"{where}.role", f"is to be one of {', '.join(ROLES)}")
    content = message.get("content")
    if content is None and role == "assistant":
        content = ""
    return {"role": ROLES[role], "content": _text(f"{where}.content", content)}


def _text(where: str, content: object) -> str:
    """A text, or the texts of a list of parts, each on a line of its own."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(where, "is to be a text, or a list of parts")
    return "\n".join(_part(f"{where}[{place}]", part) for place, part in enumerate(content))


def _part(where: str, part: object) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise wrong(where, "is to be an object with a type")
    if part["type"] != "text":
        raise unsupported(where, f"has the type {part['type'][:40]!r}; only text is supported here")
    if not isinstance(part.get("text"), str):
        raise wrong(f"{where}.text", "is to be a text")
    return part["text"]
