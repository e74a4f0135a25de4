"""Everything IdleTune remembers, in one SQLite database under the home directory.

- One file: an answer, a counter and an event are kept together or not at all.
- synchronous=FULL: what a method has returned from survives a kill and an empty battery.
- secure_delete: what the user has forgotten is overwritten in the file, not only unlinked.
- With a key, texts and embeddings are encrypted before they get here (`encrypt`, `decrypt`; cipher.py, keyring.py).
- The tables are in schema.py, the checks of a file that is opened in integrity.py.
- What all tables share is here; each has a module with its own SQL (dialogue_sets.py, annotation.py ...).
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import StorageError, UsageError
from . import integrity, private_settings, schema
from .cipher import KEY_CHANGED, Cipher, NullCipher, Row, decrypt_row, encrypt_row
from .home import make_home
from .integrity import errors_explained
from .keyring import finish, open_cipher, read_key, rotate

FILE_NAME = "idletune.db"
BUSY_SECONDS = 10.0  # how long to wait for another process's write

_OUTER = "BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",)
_INNER = "SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part")


class Store:
    """The open database. One connection behind one lock, so that any thread may use it.

    `key` (32 bytes) opens an encrypted home, and encrypts a plain one.
    Raises UsageError when the home cannot be used (the key's faults included), StorageError when it cannot be used
    now, DamagedDataError when the database cannot be trusted.
    """

    def __init__(
        self,
        home: Path,
        clock: Callable[[], float] = time.time,
        busy_seconds: float = BUSY_SECONDS,
        key: bytes | None = None,
    ):
        self.home = make_home(Path(home))
        self.path = self.home / FILE_NAME
        self.clock = clock
        self.lock = threading.RLock()
        self.rollbacks = 0  # who mirrors the database in memory starts anew when this changes
        self._cipher: NullCipher | Cipher | None = None  # until the key was checked
        self._after: list[Callable[[], None]] = []
        with errors_explained(self.path):
            self.db = sqlite3.connect(self.path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(busy_seconds)
                with self.transaction():
                    cipher = open_cipher(self, key)
                self.cipher = cipher
                self._tidy()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the connection, once no other thread uses it; a second call does nothing."""
        with self.lock:
            self.db.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block or none of it; on disk when the outermost block ends.

        Blocks nest: an inner one that raises is undone alone, an outer one takes the inner ones with it.
        """
        with self.lock, errors_explained(self.path):
            begin, commit, undo = _INNER if self.db.in_transaction else _OUTER
            self.db.execute(begin)
            planned = len(self._after)
            try:
                if begin is _OUTER[0]:
                    self.check_key()
                yield self.db
                self.db.execute(commit)
            except BaseException:
                self.rollbacks += 1
                del self._after[planned:]
                # A full disk may have ended the transaction already.
                for statement in undo if self.db.in_transaction else ():
                    self.db.execute(statement)
                raise
            self._run_planned()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads in the block see one state of the database. Another process that writes is not waited for."""
        with self.lock, errors_explained(self.path):
            if self.db.in_transaction:
                yield
                return
            self.db.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                self.db.execute("ROLLBACK")

    def after_commit(self, action: Callable[[], None]) -> None:
        """Do this once the outermost transaction is on disk, at once outside of one: what cannot be undone."""
        with self.lock:
            self._after.append(action)
            self._run_planned()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self.lock, errors_explained(self.path):
            return self.db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query; None when there is none, also for an id no database can hold."""
        try:
            return next(iter(self.rows(sql, *values)), None)
        except OverflowError:
            return None

    def counter(self, name: str) -> int:
        """The value of a counter; 0 before it was first counted."""
        row = self.row("SELECT value FROM counters WHERE name = ?", name)
        return row["value"] if row else 0

    def count(self, name: str, by: int = 1) -> int:
        """Add to a counter and return its new value."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO counters (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (name, by),
            )
            return self.counter(name)

    def reset(self, name: str) -> None:
        """Set a counter back to 0."""
        with self.transaction() as db:
            db.execute("DELETE FROM counters WHERE name = ?", (name,))

    @property
    def cipher(self) -> NullCipher | Cipher:
        """What encrypts this home's values; replaced when the key changes."""
        assert self._cipher is not None, "the key is checked when a home is opened"
        return self._cipher

    @cipher.setter
    def cipher(self, cipher: NullCipher | Cipher) -> None:
        self._cipher = cipher

    def encrypt(self, table: str, id: int, **values: Any) -> dict[str, Any]:
        """A row's values as they are stored: encrypted where they are the user's and a key was given."""
        return encrypt_row(self.cipher, table, id, values)

    def decrypt(self, table: str, id: int, row: Row) -> dict[str, Any]:
        """The inverse of `encrypt`, for a row or any part of it."""
        return decrypt_row(self.cipher, table, id, row)

    def next_id(self, table: str) -> int:
        """The id a table gives next; certain within a transaction only."""
        row = self.row("SELECT seq FROM sqlite_sequence WHERE name = ?", table)
        return (row["seq"] if row else 0) + 1

    def check_key(self) -> None:
        """StorageError when another process has changed the key since this one opened the home."""
        newest = self.rows("SELECT max(id) FROM data_keys")[0][0] or 0 if self._cipher else 0
        if self._cipher and newest != self._cipher.newest:
            raise StorageError(f"{self.home}: {KEY_CHANGED}")

    @property
    def encrypted(self) -> bool:
        return self.cipher.newest > 0

    def rotate_key(self, key: bytes) -> None:
        """Encrypt everything anew; from now on only `key` opens the home. A kill leaves the old key or the new."""
        rotate(self, key)

    def owe_scrub(self) -> None:
        """In the transaction that deletes: what a kill keeps from being scrubbed is scrubbed at the next start."""
        self.count("scrub_owed")

    def scrub(self) -> None:
        """Rewrite the file and empty the write-ahead log: deleted text is then in neither. Not in a transaction."""
        self.rows("VACUUM")
        if self.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0]["busy"]:
            reader = "another IdleTune reads it, so deleted text may still be in its log"
            raise UsageError(f"{self.path}: {reader}; close that one, the next start removes it")
        self.reset("scrub_owed")

    def try_scrub(self) -> bool:
        """The same; False where another process reads or the disk is full, and it is still owed at the next start."""
        try:
            self.scrub()
        except UsageError:
            return False
        return True

    def _prepare(self, busy_seconds: float) -> None:
        self.db.row_factory = sqlite3.Row
        integrity.check_file(self.db, self.path)
        for setting in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY"):
            self.db.execute(f"PRAGMA {setting}")
        self._write_ahead(busy_seconds)
        self._migrate()
        integrity.check_schema(self.db, self.path)

    def _tidy(self) -> None:
        """Finish what a kill may have cut short: a change of keys, the removal of deleted text."""
        finish(self)
        with suppress(UsageError):  # the disk is full: the next start moves them
            private_settings.move(self)
        if self.counter("scrub_owed"):
            self.try_scrub()

    def _run_planned(self) -> None:
        while self._after and not self.db.in_transaction:
            self._after.pop(0)()

    def _write_ahead(self, busy_seconds: float) -> None:
        # For this, SQLite does not wait for another process that opens the same new file; so we do.
        end = time.monotonic() + busy_seconds
        while True:
            try:
                self.db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _migrate(self) -> None:
        with self.transaction() as db:  # another process may be opening the same file: look inside the lock
            db.execute("CREATE TABLE IF NOT EXISTS idletune_migrations (name TEXT PRIMARY KEY, at REAL)")
            applied = integrity.applied_migrations(db)
            for migration in schema.MIGRATIONS:
                name = migration.__name__
                if name not in applied:
                    try:
                        migration(db)
                    except sqlite3.OperationalError as error:
                        if integrity.explain(self.path, str(error)) or not applied:
                            raise
                        raise integrity.damaged(self.path, f"{name}: {error}") from None  # it builds on what is missing
                    db.execute("INSERT INTO idletune_migrations VALUES (?, ?)", (name, self.clock()))


def open_store(home: Path, settings) -> Store:
    """The database alone, with the key the settings name; for what needs no model."""
    return Store(home, key=read_key(Path(settings.key_file)) if settings.key_file else None)
