"""The files beside the database (adapters, the training checkpoint): whole or not at all, sealed when a key is given.

A file is written beside, flushed and renamed; a kill, a power cut and a full disk leave the one before.
llama.cpp loads an adapter from a path: a sealed one is opened into a file in memory, so no plain byte of it
touches the disk.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError
from .sealing import Unsealed, data_key_of

CHECKPOINT = "training.npz"
ADAPTERS = "adapters"
MEMFD_CREATE = {"x86_64": 319, "aarch64": 279, "armv7l": 385, "armv8l": 385, "i686": 356}  # Linux system calls


class Files:
    """Reads and writes a store's private files. Without a store: plain ones anywhere (see PLAIN)."""

    def __init__(self, store=None):
        self._store = store

    def write(self, path: Path, data: bytes) -> None:
        """Put `data` in the file's place; on the disk on return. UsageError when there is no room for it."""
        partial = path.with_suffix(".part")
        try:
            self._write_through(partial, self._sealer().seal(data, path.name))
            os.replace(partial, path)
            _flush_folder(path.parent)
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            need = len(data) // 1_000_000 + 1
            raise UsageError(f"no room for {path.name} ({need} MB) in {path.parent}; free some storage") from None

    def read(self, path: Path, plain_too: bool = False) -> bytes:
        """The plain bytes. DamagedDataError when they are not what was written; OSError as the system says.

        `plain_too` lets a plain file pass in an encrypted home.
        """
        data = path.read_bytes()
        if plain_too and not data_key_of(data):
            return data
        return self._sealer().open(data, path.name)

    @contextmanager
    def readable(self, path: Path) -> Iterator[Path]:
        """A path that others can load the plain file from: its own, or one in memory for the block's time."""
        if not self._sealer().newest:
            yield path
            return
        data = self.read(path)
        descriptor = _memory_file(path.stem)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    def private(self) -> list[Path]:
        """The store's files that hold what was learned of the user."""
        home = self._store.home
        return [path for path in (home / CHECKPOINT, *sorted((home / ADAPTERS).glob("*.gguf"))) if path.is_file()]

    def _sealer(self):
        if self._store is None:
            return Unsealed()
        self._store.check_key()
        return self._store.sealer

    @staticmethod
    def _write_through(path: Path, data: bytes) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


PLAIN = Files()


def _memory_file(name: str) -> int:
    """A file that exists in memory alone; Python lacks the call where it was built for an older C library."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    call = MEMFD_CREATE.get(platform.machine()) if os.path.exists("/proc/self/fd") else None
    descriptor = ctypes.CDLL(None).syscall(call, name.encode(), 1) if call else -1
    if descriptor < 0:
        raise UsageError(
            "this system has no files in memory, so an encrypted adapter cannot be loaded without a plain copy"
            " on the disk; use Linux or Android, or a home without a key"
        )
    return descriptor


def _flush_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
