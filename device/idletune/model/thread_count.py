"""How many threads a piece of work gets: all cores, or fewer while other programs are busy.

llama.cpp's threads wait for each other at every operation, by spinning. On a quiet machine nothing is faster; beside
busy programs they wait for each other's time slices, and one thread gets more done than two. The sign is the share of
the processor that the last pieces of work got, since threads that spin take all they are given. It needs no file of the
system's: Android keeps the load average and the pressure from apps.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MEASURED_SECONDS = 0.02  # of work, before a share is believed: several time slices
CROWDED, FREE = 0.7, 0.9  # share of the processor: below it there are too many threads; from it on more may be tried
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds until all cores are tried again


class ThreadCount:
    """`now` threads of at most `most`; work is done inside `piece()`."""

    def __init__(
        self,
        most: int,
        wall: Callable[[], float] = time.perf_counter,
        processor: Callable[[], float] = time.process_time,
    ):
        self.now, self._most, self._wall, self._processor = most, most, wall, processor
        self._pause, self._changed = FIRST_PAUSE, wall()
        self._worked, self._used = 0.0, 0.0  # since a share was last taken
        self._begun = most == 1

    @contextmanager
    def piece(self) -> Iterator[int]:
        """A piece of work with so many threads."""
        if not self._begun:
            self._begin()
        wall, used = self._wall(), self._processor()
        yield self.now
        self._worked += self._wall() - wall
        self._used += self._processor() - used
        if self._most > 1 and self._worked >= MEASURED_SECONDS:
            self._adapt(self._used / (self._worked * self.now))
            self._worked, self._used = 0.0, 0.0

    def _begin(self) -> None:
        """Before the first piece: the share of one thread that does nothing else."""
        start, used = self._wall(), self._processor()
        while (waited := self._wall() - start) < MEASURED_SECONDS:
            pass
        self._begun = True
        if (self._processor() - used) / waited < FREE:
            self._set(1)

    def _adapt(self, share: float) -> None:
        if self.now > 1 and share < CROWDED:
            self._set(max(1, int(share * self.now)))
        elif self.now == self._most:
            self._pause = FIRST_PAUSE
        elif share >= FREE and self._wall() - self._changed >= self._pause:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._set(self._most)

    def _set(self, threads: int) -> None:
        self.now, self._changed = threads, self._wall()
