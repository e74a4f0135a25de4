"""Progress on standard error: a bar on a terminal.

By hand and not tqdm, which would save nothing here: a bar that appears only after half a second, counts that are given
and not incremented, a terminal that fails without an exception, and lines instead of bars in a log all need a wrapper
that is as long as this file. And it would be one more package on the phone.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

WIDTH, DELAY_SECONDS = 28, 0.5  # characters; a bar appears after this time


class Bar(Protocol):
    """Shows that `done` of the total is done."""

    def __call__(self, done: int, note: str = ..., /) -> None: ...


Bars = Callable[[str, int], AbstractContextManager[Bar]]  # of a label and a total


class Progress:
    """`with Progress("training", total) as bar: bar(done, "note")`; silent when not on a terminal."""

    def __init__(self, label: str, total: int, stream: TextIO | None = None):
        self.label, self.count, self.total = label, total, max(1, total)
        self.stream: TextIO | None = stream or sys.stderr
        self.live = self.stream is not None and self.stream.isatty()
        self.start, self.drawn = time.monotonic(), 0.0

    def __call__(self, done: int, note: str = "") -> None:
        now = time.monotonic()
        if not self.live or now - self.start < DELAY_SECONDS or (now - self.drawn < 0.1 and done < self.total):
            return
        self.drawn = now
        filled = WIDTH * min(done, self.total) // self.total
        left = (now - self.start) / max(1, done) * (self.total - done)
        bar = "█" * filled + "·" * (WIDTH - filled)
        self._write(f"\r\x1b[K{self.label:<12} {bar} {done}/{self.total}  {left:3.0f} s left  {note}")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.live and self.drawn:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        """A terminal that is gone, or cannot show the characters, ends the bar and not the work."""
        try:
            if self.stream is not None:
                self.stream.write(text)
                self.stream.flush()
        except (OSError, ValueError):
            self.live = False


class ProgressOrLines(Progress):
    """Progress that writes a line as each stage begins where there is no terminal: for work of minutes."""

    def __enter__(self) -> "ProgressOrLines":
        if not self.live and self.count:
            self._write(f"{self.label}: {self.count} steps\n")
        return self


@contextmanager
def no_bars(label: str, total: int) -> Iterator[Bar]:
    """Stands in for Progress where none is shown."""
    yield lambda done, note="": None
