"""Events on their way to a reader who may be slow, or never come.

Whoever puts an event never waits. What is waiting is merged instead: text of one answer becomes one event,
of training only the newest count stays, a question is told once. So little can gather that a limit on the
number of events only ever cuts off progress; an answer's text is in the response as well.
"""

import threading
from collections import OrderedDict

from ..state.origins import HOST
from .messages import notification

MOST_WAITING = 256

# name: (what it tells, its parameters)
EVENTS = {
    "event.chat_text": (
        "a piece of an answer being written (chat, complete and continue_text with stream)",
        {
            "request_id": "the id of the request",
            "text": "what was added since the last piece",
            "completion": "the answer's id",
        },
    ),
    "event.chat_thought": (
        "a piece of what the model writes for itself before an answer (setting thinking)",
        {
            "request_id": "the id of the request",
            "text": "what was added since the last piece",
            "completion": "the answer's id",
        },
    ),
    "event.prompt": (
        "a question to the user is due; for the clients of the session it is about, and those that subscribed to all",
        {"prompt": "as in the answer of prompts"},
    ),
    "event.prompt_dismissed": (
        "a question to the user is open no more, answered or forgotten: whoever shows it takes it off the screen",
        {"prompt_id": "the question's id"},
    ),
    "event.training": (
        "how far a slice of learning has come",
        {
            "stage": "paraphrasing, measuring, training, judging ...",
            "done": "steps done",
            "total": "of how many",
            "note": "more about the step: in training the loss, in nats per token",
        },
    ),
    "event.learning": (
        "learning that was begun by hand (learn) has ended",
        {"outcome": "promoted, held_back, rejected, stopped or failed", "reason": "why, in words"},
    ),
    "event.import": (
        "how far an import has come",
        {"done": "exchanges read", "total": "of how many"},
    ),
    "event.adapter": (
        "a verdict on an adapter, or an adapter that no longer serves",
        {
            "version": "the adapter's number",
            "promoted": "whether it serves now",
            "suspicious": "whether it is held back for a look; promote serves it",
            "reason": "why, in words",
        },
    ),
}

TEXTS = ("event.chat_text", "event.chat_thought")  # pieces of them are joined


class EventQueue:
    """One reader's events. Any thread may put; any thread may take. `origin` says who reads (state/origins.py)."""

    def __init__(self, origin: str = HOST):
        self.origin = origin
        self._waiting: OrderedDict[tuple, dict] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, name: str, key: int | None = None, **params: object) -> None:
        """Add an event. While one of the same name and key waits, the new one is merged into it."""
        place = (name, key)
        with self._changed:
            if name == "event.prompt_dismissed":
                self._waiting.pop(("event.prompt", key), None)
            waiting = self._waiting.get(place)
            if waiting is None:
                if len(self._waiting) >= MOST_WAITING:
                    self._waiting.popitem(last=False)
                self._waiting[place] = notification(name, params)
            elif name in TEXTS:
                waiting["params"]["text"] += params["text"]
            else:
                waiting["params"] = params
            self._changed.notify()

    def take(self, timeout_seconds: float) -> dict | None:
        """The oldest event; None when none came in time, and at once when closed."""
        with self._changed:
            seconds = min(max(0.0, timeout_seconds), threading.TIMEOUT_MAX)
            self._changed.wait_for(lambda: self._waiting or self._closed, seconds)
            return self._waiting.popitem(last=False)[1] if self._waiting else None

    def close(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
