"""A small sound file of each format of conversations, as its program writes it."""

import io
import json
import zipfile


def lines(*records) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def node(parent, role, text, at, children=(), **more):
    content = {"content_type": "text", "parts": [text]}
    message = {"author": {"role": role, "metadata": {}}, "content": content, "create_time": at, "recipient": "all"}
    return {"parent": parent, "children": list(children), "message": {**message, "metadata": {}, **more}}


def chatgpt_conversation(prefix="", at=1_700_000_000.5):
    """A question with two answers; the second was kept. The first question was edited."""
    hidden = {"is_visually_hidden_from_conversation": True}
    return {
        "title": "Bread",
        "create_time": at,
        "mapping": {
            "root": {"parent": None, "children": ["s"], "message": None},
            "s": node("root", "system", "", None, ["u0", "u1"], metadata=hidden),
            "u0": node("s", "user", f"{prefix}old question", at, ["a0"]),
            "a0": node("u0", "assistant", "old answer", at + 1),
            "u1": node("s", "user", f"{prefix}How long does rye bread rise?", at + 2, ["a1", "a2"]),
            "a1": node("u1", "assistant", "An hour.", at + 3),
            "a2": node("u1", "assistant", "Two hours, warm.", at + 4, ["u2"]),
            "u2": node("a2", "user", f"{prefix}And in the fridge?", at + 5, ["t"]),
            "t": node("u2", "assistant", "search(rye)", at + 6, ["a3"], recipient="browser"),
            "a3": node("t", "assistant", "Overnight \U0001f35e", at + 7),
        },
        "current_node": "a3",
    }


def zipped(**files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/").replace("_json", ".json").replace("_txt", ".txt"), data)
    return buffer.getvalue()


WHATSAPP = """\
12/03/2022, 14:07 - Messages and calls are end-to-end encrypted. No one outside of this chat can read them.
12/03/2022, 14:08 - Anna: Is the bakery open?
12/03/2022, 14:09 - Anna: On Sunday I mean
12/03/2022, 14:10 - Ben Lee: Until noon
and the one at the station
until six
12/03/2022, 14:11 - Anna: <Media omitted>
12/03/2022, 14:12 - Anna: And the market: is it on?
13/03/2022, 09:30 - Ben Lee: Good morning
13/03/2022, 09:31 - Anna: Morning! Coffee?
13/03/2022, 09:33 - Ben Lee: Yes <This message was edited>
"""

OPENAI = [
    {"messages": [
        {"role": "system", "content": "You are a baker."},
        {"role": "user", "content": "Which flour?"}, {"role": "assistant", "content": "Rye."},
        {"role": "user", "content": [{"type": "text", "text": "How much?"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": "A pound."},
    ]},
    {"messages": [{"role": "user", "content": "Salt?"}, {"role": "assistant", "content": "A pinch.", "weight": 1}]},
]  # fmt: skip

SHAREGPT = [
    {"id": "1", "conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Yeast?"},
                                  {"from": "gpt", "value": "Fresh."}]},
    {"id": "2", "conversations": [{"from": "gpt", "value": "Hello!"}, {"from": "human", "value": "Oven?"}]},
]  # fmt: skip

ALPACA = [
    {"instruction": "Translate", "input": "Brot", "output": "bread"},
    {"instruction": "Say hi", "input": "", "output": "hi"},
]

SILLY_TAVERN = [
    {"user_name": "You", "character_name": "Mara", "create_date": "2025-07-18@12h00m00s", "chat_metadata": {}},
    {"name": "Mara", "is_user": False, "mes": "Hello there.", "send_date": "July 18, 2025 12:00pm"},
    {"name": "You", "is_user": True, "mes": "What do you bake?", "send_date": "2025-07-18@12h01m00s"},
    {"name": "Mara", "is_user": False, "mes": "Rolls.", "send_date": 1752840120000, "swipes": ["Buns.", "Rolls."]},
    {"name": "System", "is_user": False, "is_system": True, "mes": "hidden", "send_date": "2025-07-18T12:03:00.000Z"},
]

USER, ASSISTANT = "y9d7f8pgn", "h3o3lc5xj"
POCKETPAL = {
    "id": "x", "title": "Bread", "date": "2025-01-01T00:00:00.000Z", "completionSettings": {}, "messages": [
        {"id": "3", "author": ASSISTANT, "text": "Until it sounds hollow.", "type": "text", "metadata": {},
         "createdAt": 1735689603000},
        {"id": "2", "author": USER, "text": "How long do I bake?", "type": "text", "createdAt": 1735689602000},
        {"id": "1", "author": ASSISTANT, "text": "Model loaded", "type": "text", "metadata": {"system": True},
         "createdAt": 1735689601000},
    ],
}  # fmt: skip

CHATTER_UI = {
    "id": 7, "create_date": "2025-02-01T10:00:00.000Z", "character_id": 3, "name": "New Chat", "messages": [
        {"id": 2, "is_user": False, "name": "Bot", "order": 1, "swipe_id": 1, "swipes": [
            {"swipe": "Barley.", "send_date": "2025-02-01T10:01:00.000Z"},
            {"swipe": "Spelt.", "send_date": "2025-02-01T10:02:00.000Z"}]},
        {"id": 1, "is_user": True, "name": "Me", "order": 0, "swipe_id": 0, "swipes": [
            {"swipe": "Which grain?", "send_date": "2025-02-01T10:00:30.000Z"}]},
    ],
}  # fmt: skip

OPEN_WEBUI = [{
    "id": "c", "title": "Bread", "chat": {"models": ["m"], "history": {"currentId": "b2", "messages": {
        "a": {"id": "a", "parentId": None, "role": "user", "content": "Sourdough?", "timestamp": 1740000000},
        "b1": {"id": "b1", "parentId": "a", "role": "assistant", "content": "No.", "timestamp": 1740000001},
        "b2": {"id": "b2", "parentId": "a", "role": "assistant", "content": "Yes.", "timestamp": 1740000002},
    }}, "messages": []},
}]  # fmt: skip

CLAUDE = [{"uuid": "1", "name": "Bread", "chat_messages": [
    {"sender": "human", "text": "Crust?", "created_at": "2025-03-01T10:00:00.123456Z"},
    {"sender": "assistant", "text": "", "content": [{"type": "text", "text": "Steam."}]},
]}]  # fmt: skip

OWN = [{"question": "Who bakes?", "response": "I do.", "user": "ann"}, {"question": "When?", "response": "At four."}]

# Of each format a sound file, and how many exchanges are in it.
SAMPLES: dict[str, tuple[bytes, int]] = {
    "idletune": (lines(*OWN), 2),
    "chatgpt": (json.dumps([chatgpt_conversation(), chatgpt_conversation("No. 2: ")], indent=1).encode(), 4),
    "claude": (json.dumps(CLAUDE).encode(), 1),
    "openai": (lines(*OPENAI), 3),
    "sharegpt": (json.dumps(SHAREGPT, indent=2).encode(), 1),
    "alpaca": (json.dumps(ALPACA).encode(), 2),
    "completions": (lines({"prompt": "A loaf is", "completion": "bread"}), 1),
    "sillytavern": (lines(*SILLY_TAVERN), 1),
    "pocketpal": (json.dumps(POCKETPAL, indent=2).encode(), 1),
    "chatterui": (json.dumps(CHATTER_UI).encode(), 1),
    "openwebui": (json.dumps(OPEN_WEBUI).encode(), 1),
    "whatsapp": (WHATSAPP.encode(), 2),
}
ME = {"whatsapp": "Ben Lee"}  # of formats that need --me
