"""One learner at a time for a home: an advisory lock that ends with its process, however that ends.

A learner holds it for itself alone. Who only looks shares it for an instant, and keeps no learner out.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import UsageError

FILE_NAME = "learner.lock"
TRIES, TRY_SECONDS = 12_000, 0.005  # a minute: on a busy machine an instant may be long


@contextmanager
def learner_lock(home: Path) -> Iterator[None]:
    """Hold the home's lock; UsageError when another process (or this one) learns already."""
    with open(_opened(home / FILE_NAME), "r+", errors="replace") as file:
        if not _locked(file):
            raise UsageError(
                f"another IdleTune (process {file.read(20).strip() or 'unknown'}) is learning in {home};"
                " wait until it has finished, or end it"
            )
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
        finally:  # not by closing alone: a program that another thread starts shares the file for an instant
            fcntl.flock(file, fcntl.LOCK_UN)


def _opened(path: Path) -> int:
    """Not waiting: a FIFO in its place would wait for a writer."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise UsageError(f"cannot open {path} ({error.strerror}); it has to be a file of yours, or none") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path} is no regular file; remove it, IdleTune makes its own")
    return descriptor


def _locked(file: IO[str]) -> bool:
    """Whether the lock could be had. Those that only look (`is_learning`) are waited for, another learner is not."""
    for _ in range(TRIES):
        if _flocked(file, fcntl.LOCK_EX):
            return True
        if not _flocked(file, fcntl.LOCK_SH):  # it cannot even be shared: a learner has it
            return False
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(TRY_SECONDS)
    return False


def _flocked(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def is_learning(home: Path) -> bool:
    """Whether somebody holds the lock now."""
    try:
        with open(os.open(home / FILE_NAME, os.O_RDONLY | os.O_NONBLOCK)) as file:
            if not _flocked(file, fcntl.LOCK_SH):
                return True
            fcntl.flock(file, fcntl.LOCK_UN)
            return False
    except OSError:
        return False
