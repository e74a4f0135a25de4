"""Where the socket lies: a folder that only its owner can enter, a lock beside it, and the listening socket."""

import fcntl
import os
import socket
import stat
from pathlib import Path

from ..errors import UsageError

LONGEST_NAME = 107  # bytes of a socket's path, on Linux


def check_name(path: Path) -> None:
    """UsageError for what can be no socket's path: no name at the end, a zero byte, or longer than the system takes."""
    if not path.name or path.name == ".." or "\0" in str(path):
        raise UsageError(f"{str(path)[:80]!r} names no place for a socket; name one, as FOLDER/idletune.sock")
    if len(os.fsencode(path)) > LONGEST_NAME:
        told = f"{str(path)[:80]}... has {len(os.fsencode(path))} bytes"
        raise UsageError(f"{told}; a socket's path has at most {LONGEST_NAME} bytes, name a shorter one")


def check_folder(folder: Path) -> None:
    """Make the folder with mode 0700, or check that only its owner can enter it. UsageError otherwise."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise UsageError(f"cannot use {folder} for the socket ({error.strerror}); name a folder of yours") from None
    if found.st_uid != os.geteuid():
        raise UsageError(f"{folder} belongs to another user; name a folder of yours for the socket")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise UsageError(f"{folder} has mode {mode:04o}, others can reach a socket in it; chmod 700 {folder}")


def lock(path: Path) -> int:
    """Lock `path`.lock; returns its descriptor. It ends with the process: a socket beside a free lock is stale.

    UsageError where another process holds it.
    """
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"cannot make {path}.lock ({error.strerror}); a socket's path has at most 107 bytes") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"another IdleTune serves on {path}; use that one, or name another socket") from None
    return descriptor


def listen(path: Path, backlog: int) -> socket.socket:
    """A listening socket at `path`, mode 0600, in place of a stale one. UsageError for another file there."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_socket()):
        raise UsageError(f"{path} is a file, not a socket; name a place where there is none")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {path} ({error}); a socket's path has at most 107 bytes") from None
    os.chmod(path, 0o600)
    listener.listen(backlog)
    return listener
