"""What is written appears whole or not at all: built beside its place, renamed when it is done."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from idletune.errors import UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_OURS = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)


@contextmanager
def built_beside(target: Path) -> Iterator[Path]:
    """A path beside `target`, for a file or a folder; it takes the target's place when the block ends well.

    Raises UsageError for a full disk or a place that cannot be written; what was at `target` is kept then.
    """
    with one_line(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".idletune-", dir=target.parent))
        try:
            partial = scratch / target.name
            yield partial
            if target.exists():
                target.rename(scratch / "previous")
            partial.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def one_line(target: Path) -> Iterator[None]:
    """A full or read-only disk is the user's to mend, and said in one line."""
    try:
        yield
    except Exception as error:
        if _says_full(error):
            raise UsageError(f"no room left beside {target}; free some storage") from None
        if isinstance(error, OSError) and error.errno in NOT_OURS:
            raise UsageError(f"cannot write {target} ({error.strerror}); name another place with -o") from None
        raise


def _says_full(error: Exception) -> bool:
    """Libraries tell of a full disk each in their own way: safetensors in words, numpy by what it wrote."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    text = str(error)
    return "No space left" in text or (isinstance(error, OSError) and " requested and " in text)
