"""Conversations of clients that send the whole history with each message, as OpenAI's API has it.

- A history is recognized by a digest of its messages: then the conversation goes on with the few-shot turns and the cut
  it had, so that the KV cache stays valid, and its replies keep their provenance.
- An exchange is recognized too, whatever was said before it, so a history that was cut or edited keeps the provenance
  of what is left.
- A question that was answered already in the same history is not observed a second time, and its next answer is a
  further one, by another seed.

Digests are keyed with a random key of this process; texts go with `begin_anew`, digests stay.
"""

import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from copy import copy
from hashlib import blake2b
from typing import TypeVar

from ..conversation import Conversation
from ..dialogue import UNKNOWN, Provenance
from ..errors import UsageError

MOST_HISTORIES = 256  # the one unused longest goes; two of one conversation share the texts of their messages
MOST_EXCHANGES = 10_000

Value = TypeVar("Value")


class Histories:
    """What was answered so far, by digests of messages. For one thread at a time."""

    def __init__(self, most: int = MOST_HISTORIES):
        self._most, self._key = most, secrets.token_bytes(16)
        self._conversations: OrderedDict[bytes, Conversation] = OrderedDict()
        self._exchanges: OrderedDict[bytes, Provenance] = OrderedDict()  # of each reply, itself included
        self._completions: OrderedDict[bytes, tuple[str, int]] = OrderedDict()  # each question's first, and how many

    def conversation(self, system: str, history: Sequence[dict]) -> Conversation:
        """The conversation that these messages are, to be continued; a known one is copied, for it may branch."""
        known = self._conversations.get(self._digest(system, history))
        if known is not None:
            return copy(known)
        sources = [self._source(*turn) for turn in zip(history[::2], history[1::2])]
        return Conversation(history=list(history), sources=sources)

    def first_completion(self, system: str, history: Sequence[dict], question: str) -> str | None:
        """The id of the completion that answered this very question first."""
        return self._completions_of(system, history, question)[0] or None

    def count_completions(self, system: str, history: Sequence[dict], question: str) -> int:
        """How many completions answered this very question."""
        return self._completions_of(system, history, question)[1]

    def add(
        self,
        system: str,
        history: Sequence[dict],
        question: str,
        reply: str,
        continued: Conversation,
        completion: str,
    ) -> None:
        """Remember an answered question; `continued` is its conversation, the reply included."""
        turn = _user(question), {"role": "assistant", "content": reply}
        self._keep(self._conversations, self._digest(system, [*history, *turn]), continued, self._most)
        self._keep(self._exchanges, self._digest("", turn), continued.sources[-1], MOST_EXCHANGES)
        first, count = self._completions_of(system, history, question)
        asked = self._digest(system, [*history, turn[0]])
        self._keep(self._completions, asked, (first or completion, count + 1), MOST_EXCHANGES)

    def begin_anew(self) -> None:
        """Forget all texts; what replies were written from stays known."""
        self._conversations.clear()

    def _completions_of(self, system: str, history: Sequence[dict], question: str) -> tuple[str, int]:
        return self._completions.get(self._digest(system, [*history, _user(question)]), ("", 0))

    def _source(self, question: dict, reply: dict) -> Provenance:
        return self._exchanges.get(self._digest("", [question, reply]), UNKNOWN)

    def _digest(self, system: str, messages: Sequence[dict]) -> bytes:
        """Clients send a reply back with other spaces around it."""
        texts = [[message["role"], message["content"].strip()] for message in messages]
        data = json.dumps([system, texts]).encode()
        return blake2b(data, key=self._key, digest_size=16).digest()

    @staticmethod
    def _keep(table: OrderedDict[bytes, Value], digest: bytes, value: Value, most: int) -> None:
        table[digest] = value
        table.move_to_end(digest)
        if len(table) > most:
            table.popitem(last=False)


def split_messages(messages: Sequence[dict]) -> tuple[str, list[dict], str]:
    """The system message ("" for none), the pairs of question and reply before, and the question to answer.

    Chat templates take one system message, at the beginning, and turns that alternate: so system messages are joined,
    and so are neighbours of one role. A first message of the assistant gets an empty question before it.
    UsageError where the last message is not the user's, or is empty.
    """
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    turns: list[dict] = []
    for message in (m for m in messages if m["role"] != "system"):
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1] = {**message, "content": f"{turns[-1]['content']}\n\n{message['content']}"}
        else:
            turns.append({"role": message["role"], "content": message["content"]})
    if not turns or turns[-1]["role"] != "user" or not turns[-1]["content"].strip():
        raise UsageError("the last message is to be the user's, and not empty; it is what is answered")
    if turns[0]["role"] == "assistant":
        turns = [_user(""), *turns]
    return system, turns[:-1], turns[-1]["content"]


def _user(text: str) -> dict:
    return {"role": "user", "content": text}
