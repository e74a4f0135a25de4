"""Conversations: the messages and few-shot turns of each session that talks to one runtime.

A session is whoever names the same id: one client, or several windows of one app. All sessions share one model and one
KV cache; a change of session re-reads what the two prompts do not have in common.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from .dialogue import UNKNOWN, Provenance

MOST_CONVERSATIONS = 128  # of one runtime; the one unused longest goes
MOST_KEPT = 1000  # ids a conversation remembers of the dialogue sets that came from it


@dataclass
class Conversation:
    """The state of one session; nothing of it is written to the disk."""

    history: list[dict] = field(default_factory=list)  # what can still be shown to the model
    sources: list[Provenance] = field(default_factory=list)  # of each reply in the history, itself included
    left_out: int = 0  # messages that went before it
    alternatives: int = 0  # further replies that were given to its last message
    few_shot: list[int] = field(default_factory=list)  # ids of the answered sets before it, see Retrieval
    kept: OrderedDict[int, None] = field(default_factory=OrderedDict)  # ids of the dialogue sets that came from it

    def begin_anew(self) -> None:
        """Forget the messages; whose prompts these sets are stays known."""
        self.history, self.sources, self.left_out, self.alternatives, self.few_shot = [], [], 0, 0, []

    def add(self, question: str, reply: str, provenance: Provenance, left_out: int) -> None:
        """Append a turn; `left_out` of the oldest messages, an even number, are out of the model's sight now."""
        turn = {"role": "user", "content": question}, {"role": "assistant", "content": reply}
        self.history = [*self.history, *turn][left_out:]
        self.sources = [*self.sources, provenance][left_out // 2 :]
        self.left_out += left_out
        self.alternatives = 0

    def before_last_turn(self) -> "Conversation":
        """The conversation as it stood before the last question; the same few-shot turns stand before it."""
        return Conversation(self.history[:-2], self.sources[:-1], self.left_out, few_shot=list(self.few_shot))

    @property
    def provenance(self) -> Provenance:
        """The sources of all replies in the history."""
        return UNKNOWN.joined(*self.sources)

    def keep(self, dialogue_set_id: int | None) -> None:
        """Remember that this dialogue set came from here."""
        if dialogue_set_id is not None:
            self.kept[dialogue_set_id] = None
        if len(self.kept) > MOST_KEPT:
            self.kept.popitem(last=False)


class Conversations:
    """All conversations of a runtime, by session id; "" is the session of a host that names none. Thread-safe."""

    def __init__(self, most: int = MOST_CONVERSATIONS):
        self.most, self._lock = most, threading.Lock()
        self._by_session: OrderedDict[str, Conversation] = OrderedDict()

    def of(self, session: str = "") -> Conversation:
        """The session's conversation, a new one where there is none."""
        with self._lock:
            found = self._by_session.setdefault(session, Conversation())
            self._by_session.move_to_end(session)
            if len(self._by_session) > self.most:
                self._by_session.popitem(last=False)
            return found

    def is_from(self, session: str, dialogue_set_id: int) -> bool:
        """Whether a dialogue set came from this session."""
        with self._lock:
            found = self._by_session.get(session)
        return found is not None and dialogue_set_id in found.kept

    def end(self, session: str) -> None:
        """Drop one session's conversation."""
        with self._lock:
            self._by_session.pop(session, None)

    def begin_anew(self) -> None:
        """Forget the messages of all sessions, e.g. because a dialogue set was forgotten."""
        with self._lock:
            for conversation in self._by_session.values():
                conversation.begin_anew()

    def show_anew(self) -> None:
        """Choose the few-shot turns of all sessions anew at their next message."""
        with self._lock:
            for conversation in self._by_session.values():
                conversation.few_shot = []

    def __len__(self) -> int:
        return len(self._by_session)
