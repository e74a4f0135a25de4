"""Cancellation of learning: one object that is handed down to whoever does the work."""

from collections.abc import Callable


class Cancelled(Exception):
    """Raised on cancellation, between two steps; caught by the training pipeline and by adapter monitoring."""


class Cancellation:
    """Whether the work is to end at its next step. Any of `requests` that is true cancels it."""

    def __init__(self, *requests: Callable[[], bool]):
        self._requests = requests

    def requested(self) -> bool:
        return any(request() for request in self._requests)

    def check(self, *_: object) -> None:
        """Raise Cancelled if it is requested. Arguments are ignored, so that it serves as a progress callback."""
        if self.requested():
            raise Cancelled
