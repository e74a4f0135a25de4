"""Ctrl-C as a request: what runs ends at its next step, and its work is kept."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interruptible(*signals: int) -> Iterator[Callable[[], bool]]:
    """Gives whether one of the signals (SIGINT, where none is named) came inside the block; a second one ends the
    program at once, by KeyboardInterrupt."""
    came = []

    def interrupt(*_) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(True)

    before = {number: signal.signal(number, interrupt) for number in signals or (signal.SIGINT,)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
