"""Ctrl-C as a request: what runs ends at its next step, and its work is kept."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interruptible(*signals: int) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether one of the signals (by default SIGINT) came inside the block.

    A second one raises KeyboardInterrupt.
    """
    came: list[bool] = []

    def interrupt(*_: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(True)

    before = {number: signal.signal(number, interrupt) for number in signals or (signal.SIGINT,)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
