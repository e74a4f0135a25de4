"""Events on their way to a reader who may be slow, or never come.

Whoever puts an event never waits. What is waiting is merged instead: text of one answer becomes one event,
of training only the newest count stays, a question is told once. So little can gather that a limit on the
number of events only ever cuts off progress; an answer's text is in the response as well.
"""

import threading
from collections import OrderedDict

from .messages import notification

MOST_WAITING = 256

# name: (what it tells, its parameters)
EVENTS = {
    "event.chat_text": (
        "a piece of an answer being written (chat with stream)",
        {"request_id": "the id of the chat request", "text": "what was added since the last piece"},
    ),
    "event.prompt": (
        "a question to the user is due",
        {"prompt": "as in the answer of prompts"},
    ),
    "event.training": (
        "how far a slice of learning has come",
        {"stage": "paraphrasing, measuring, training, judging ...", "done": "steps done", "total": "of how many"},
    ),
    "event.adapter": (
        "a verdict on an adapter, or an adapter that no longer serves",
        {"version": "the adapter's number", "promoted": "whether it serves now", "reason": "why, in words"},
    ),
}


class EventQueue:
    """One reader's events. Any thread may put; any thread may take."""

    def __init__(self):
        self._waiting: OrderedDict[tuple, dict] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, name: str, key=None, **params) -> None:
        """Add an event. While one of the same name and key waits, the new one is merged into it."""
        key = name, key
        with self._changed:
            waiting = self._waiting.get(key)
            if waiting is None:
                if len(self._waiting) >= MOST_WAITING:
                    self._waiting.popitem(last=False)
                self._waiting[key] = notification(name, params)
            elif name == "event.chat_text":
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
