"""A progress bar on standard error, shown only where a person is looking and it lasts."""

import sys
import time
from contextlib import contextmanager

WIDTH, PATIENCE = 28, 0.5  # characters; seconds before a bar appears


class Progress:
    """`with Progress("training", total) as bar: bar(done, "note")`; silent when not on a terminal."""

    def __init__(self, label: str, total: int, stream=None):
        self.label, self.total = label, max(1, total)
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.start, self.drawn = time.monotonic(), 0.0

    def __call__(self, done: int, note: str = "") -> None:
        now = time.monotonic()
        if not self.live or now - self.start < PATIENCE or (now - self.drawn < 0.1 and done < self.total):
            return
        self.drawn = now
        filled = WIDTH * min(done, self.total) // self.total
        left = (now - self.start) / max(1, done) * (self.total - done)
        bar = "█" * filled + "·" * (WIDTH - filled)
        self.stream.write(f"\r\x1b[K{self.label:<12} {bar} {done}/{self.total}  {left:3.0f} s left  {note}")
        self.stream.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self.live and self.drawn:
            self.stream.write("\r\x1b[K")
            self.stream.flush()


@contextmanager
def no_bars(label: str, total: int):
    """Stands in for Progress where nobody looks."""
    yield lambda done, note="": None
