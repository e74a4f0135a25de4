"""The token that programs send: a file in the home that only its owner can read."""

import os
import secrets
import stat
from pathlib import Path

from ..errors import UsageError
from ..state.home import WEB_TOKEN, make_home

TOKEN_BYTES = 32
LARGEST = 1024


def read_or_make_token(home: Path) -> str:
    """The home's token; a new one where there is none. UsageError for a file that others can read, or no token."""
    path = make_home(home) / WEB_TOKEN
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), encoding="ascii") as file:
            return _checked(path, os.fstat(file.fileno()), file.read(LARGEST).strip())
    except FileNotFoundError:
        return _make(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path} ({error}); remove it, the next start makes a new token") from None


def _make(path: Path) -> str:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(token + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); make the home writable for you") from None
    return token


def _checked(path: Path, found: os.stat_result, token: str) -> str:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise UsageError(
            f"{path} has mode {mode:04o}, others may have read it; remove it, the next start makes another"
        )
    if len(token) < TOKEN_BYTES or not all(c.isalnum() or c in "-_" for c in token):
        raise UsageError(f"{path} holds no token; remove it, the next start makes a new one")
    return token
