"""The streams of the selection benchmark: real conversations with the base model's own replies, made once.

A stream is what a phone would have seen: questions in source order, the replies that the base model gave,
their token embeddings. The last fifth is held out. Everything is kept in .cache/selection, by model and length.
A stream is named DATASET/USER, or DATASET/+N for what follows a data set's first N exchanges. The product's settings
were chosen on STREAMS; FRESH ones were first looked at after that.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from idletune.chat_files import read_exchanges
from idletune.dialogue import Exchange, TokenEmbeddings
from idletune.model.base_model import BaseModel
from idletune.selection.scores import text_embedding

DATA = Path(__file__).parents[3] / "shared" / "data"
CACHE = Path(__file__).parents[2] / ".cache" / "selection"
USERS = tuple(f"ubuntu_irc/irc_0{n}" for n in range(1, 9))
FEW = ("ubuntu_irc/irc_04", "dolly/", "medquad/", "persona_chat/", "diasafety_safe/")  # one of each data set
STREAMS = (*USERS, "dolly/", "medquad/", "persona_chat/", "diasafety_safe/")
FRESH = (
    *(f"ubuntu_irc/irc_{n:02}" for n in range(9, 17)),
    "dolly/+200",
    "medquad/+200",
    "persona_chat/+200",
    "diasafety_safe/+200",
)
HELD_OUT_SHARE, REPLY_TOKENS, BATCH = 5, 40, 32


@dataclass
class Stream:
    """`replies` and `embeddings` each belong to an exchange of `seen`; `questions` are the unit embeddings of the
    held-out questions, float32 (held out, hidden)."""

    name: str
    seen: list[Exchange]
    held_out: list[Exchange]
    replies: list[str]
    embeddings: list[TokenEmbeddings]
    questions: np.ndarray


def split_stream(name: str, length: int, data: Path = DATA) -> tuple[list[Exchange], list[Exchange]]:
    """The first `length` exchanges of a stream: those that pass through the buffer, and those that are held out."""
    dataset, user = name.split("/")
    before = int(user) if user.startswith("+") else 0
    exchanges = read_exchanges(data / f"{dataset}.jsonl", None if before else user or None, before + length)[before:]
    held = len(exchanges) // HELD_OUT_SHARE
    return exchanges[:-held], exchanges[-held:]


def load_stream(name: str, length: int, model: BaseModel, bars, data: Path = DATA) -> Stream:
    """The first `length` exchanges of a stream; the base model replies where the cache does not."""
    seen, held_out = split_stream(name, length, data)
    path = CACHE / f"{model.sha256[:12]}-{name.strip('/').replace('/', '-')}-{length}-parts.npz"
    if not path.is_file():
        _make(path, seen, held_out, model, bars, name)
    with np.load(path) as kept:
        replies = json.loads(str(kept["replies"]))
        parts = np.split(kept["tokens"].astype(np.float32), np.cumsum(kept["lengths"])[:-1])
        embeddings = [TokenEmbeddings(*pair) for pair in zip(parts[::2], parts[1::2])]
        return Stream(name, seen, held_out, replies, embeddings, kept["questions"])


def _make(path: Path, seen: list[Exchange], held_out: list[Exchange], model: BaseModel, bars, name: str) -> None:
    replies = []
    with bars(f"{name} replies", len(seen)) as bar:
        for start in range(0, len(seen), BATCH):
            part = seen[start : start + BATCH]
            replies += model.generate(
                [model.encode_prompt([{"role": "user", "content": e.question}]) for e in part],
                max_tokens=REPLY_TOKENS,
                temperature=0.7,
                top_p=0.9,
                seeds=list(range(start, start + len(part))),
                questions=[e.question for e in part],
            )
            bar(len(replies))
    questions = [text_embedding(model.embed_exchange(e.question, "").question) for e in held_out]
    tokens = [part.astype(np.float16) for reply in replies for part in reply.embeddings]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.npz")  # processes that share the work may make it side by side
    np.savez(
        partial,
        replies=json.dumps([reply.text for reply in replies]),
        tokens=np.concatenate(tokens),
        lengths=[len(t) for t in tokens],
        questions=np.stack(questions),
    )
    partial.rename(path)
