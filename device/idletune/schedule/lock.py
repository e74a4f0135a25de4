"""One learner at a time for a home: an advisory lock that ends with its process, however that ends."""

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
TRIES, TRY_SECONDS = 20, 0.005


@contextmanager
def learner_lock(home: Path) -> Iterator[None]:
    """Hold the home's lock; UsageError when another process (or this one) learns already."""
    with open(_opened(home / FILE_NAME), "r+", errors="replace") as file:
        if not _locked(file):
            raise UsageError(
                f"another IdleTune (process {file.read(20).strip() or 'unknown'}) is learning in {home};"
                " wait until it has finished, or end it"
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


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
    """Whether the lock could be had. Who only looks (`is_learning`) holds it for an instant: try a few times."""
    for _ in range(TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(TRY_SECONDS)
    return False


def is_learning(home: Path) -> bool:
    """Whether somebody holds the lock now."""
    try:
        with open(os.open(home / FILE_NAME, os.O_RDONLY | os.O_NONBLOCK)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False
