"""Remembers model files by a fingerprint: which were tried, and their SHA-256.

The fingerprint is of a file's size, times, inode and first bytes: hashing a file of 2 GB takes seconds, and would be
repeated at each start.
"""

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import DamagedDataError
from ..formats.gguf_file import model_paths, sha256
from ..small_files import is_file, parse_json, read_text, write_whole
from .trial import CHECKS, survives

TRIED = "tried_models.json"  # in the home
FIRST_BYTES = 1 << 16
MAX_REMEMBERED = 16
_tried_here: set[str] = set()  # by this process


class TriedModels:
    """What is known of model files, in a file of the home; without one, what this process has tried."""

    def __init__(self, file: Path | None = None):
        self._file, self._changed = file, False
        self._tried, self._digests = _read(file) if file else ([], {})

    def ensure(self, path: Path, cells: int, sequences: int) -> None:
        """Try the model unless that was done. DamagedDataError for one that llama.cpp does not survive."""
        if not is_file(path) or not path.stat().st_size:  # as of /proc's files, which may have no end to read to
            return  # refused where it is opened
        key = _fingerprint(model_paths(path))
        if key in self._tried:
            return
        if key not in _tried_here:
            if not survives(path, cells, sequences):
                return
            _tried_here.add(key)
        self._tried, self._changed = [*self._tried, key][-MAX_REMEMBERED:], True

    def sha256(self, path: Path) -> str:
        """The digest of the model's files; it is computed once for a fingerprint."""
        paths = model_paths(path)
        key = _fingerprint(paths)
        if key not in self._digests:
            self._digests = dict([*self._digests.items(), (key, sha256(*paths))][-MAX_REMEMBERED:])
            self._changed = True
        return self._digests[key]

    def save(self) -> None:
        """Remember them for later starts. Where that fails, models are tried and hashed again."""
        if not self._file or not self._changed:
            return
        try:
            write_whole(self._file, json.dumps({"tried": self._tried, "sha256": self._digests}).encode())
            self._changed = False
        except OSError:
            pass


def _read(file: Path) -> tuple[list[str], dict[str, str]]:
    """The fingerprints that were tried and the digests by fingerprint; none of a file that is damaged."""
    try:
        known = parse_json(read_text(file))
    except (OSError, ValueError, TypeError, DamagedDataError):
        return [], {}
    if isinstance(known, list):  # of version 0.1, which kept no digests
        known = {"tried": known}
    tried, digests = (known.get(name) if isinstance(known, dict) else None for name in ("tried", "sha256"))
    return (
        [key for key in tried if isinstance(key, str)] if isinstance(tried, list) else [],
        {key: digest for key, digest in digests.items() if _is_digest(digest)} if isinstance(digests, dict) else {},
    )


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64


def _fingerprint(paths: list[Path]) -> str:
    digest = hashlib.sha256(f"{CHECKS} {_version()}".encode())
    for path in paths:
        facts = path.stat()
        digest.update(f" {facts.st_size} {facts.st_mtime_ns} {facts.st_ino} ".encode())
        with open(path, "rb") as file:
            digest.update(file.read(FIRST_BYTES))
    return digest.hexdigest()


def _version() -> str:
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:  # in an app its files lie without their metadata
        return "?"
