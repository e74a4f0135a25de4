"""The files beside the database (adapters, the training checkpoint): whole or not at all, encrypted with a key.

A file is written beside, flushed and renamed; a kill, a power cut and a full disk leave the one before.
llama.cpp loads an adapter from a path: an encrypted one is opened into a file in memory, so no plain byte of it
touches the disk.
"""

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StorageError, UsageError
from ..small_files import write_whole
from .cipher import Cipher, NullCipher, data_key_of
from .home import is_plain_file, own_files

if TYPE_CHECKING:
    from .store import Store

CHECKPOINT = "training.npz"
ADAPTERS = "adapters"
ADOPTED = "adopted.gguf"  # what earlier versions kept of an adapter made elsewhere
MEMFD_CREATE = {"x86_64": 319, "aarch64": 279, "armv7l": 385, "armv8l": 385, "i686": 356}  # Linux system calls


class Files:
    """Reads and writes a store's private files. Without a store: plain ones anywhere (see PLAIN)."""

    def __init__(self, store: "Store | None" = None):
        self._store = store

    def write(self, path: Path, data: bytes | memoryview) -> None:
        """Put `data` in the file's place; on the disk on return. UsageError when there is no room for it,
        StorageError when the system refuses for another reason."""
        try:
            write_whole(path, self._cipher().parts(data, path.name))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(f"cannot write {path} ({error.strerror}); check the storage and its place") from None
            need = len(data) // 1_000_000 + 1
            raise UsageError(f"no room for {path.name} ({need} MB) in {path.parent}; free some storage") from None

    def read(self, path: Path, plain_too: bool = False) -> bytes:
        """The plain bytes. DamagedDataError when they are not what was written; OSError as the system says.

        `plain_too` lets a plain file pass in an encrypted home.
        """
        data = path.read_bytes()
        if plain_too and not data_key_of(data):
            return data
        return self._cipher().decrypt(data, path.name)

    @contextmanager
    def readable(self, path: Path) -> Iterator[Path]:
        """A path that others can load the plain file from: its own, or one in memory for the block's time."""
        if not self._cipher().newest:
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
        assert self._store is not None, "PLAIN has no store, so no private files"
        home, folder = self._store.home, self._store.home / ADAPTERS
        adapters = own_files(folder) if folder.is_dir() and not folder.is_symlink() else []
        whole = [path for path in (home / CHECKPOINT, *adapters) if path.suffix != ".part"]
        return [path for path in whole if is_plain_file(path)]

    def _cipher(self) -> NullCipher | Cipher:
        if self._store is None:
            return NullCipher()
        self._store.check_key()
        return self._store.cipher


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
