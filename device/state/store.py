"""Everything IdleTune remembers, in one SQLite database under the home directory.

- One file: an answer, a counter and an event are kept together or not at all.
- synchronous=FULL: what a method has returned from survives a kill and an empty battery.
- secure_delete: what the user has forgotten is overwritten in the file, not only unlinked.
- With a key, texts and embeddings are sealed before they get here (`seal`, `unseal`; sealing.py, keyring.py).
- Migrations are functions recorded by name, each run once, in order. Append to the list, never edit it.
- The schema and what all parts share are here; each noun keeps its own SQL (buffer.py, annotation.py ...).
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import DamagedDataError, StorageError, UsageError
from .home import make_home
from .keyring import finish, open_sealer, read_key, rotate
from .sealing import KEY_CHANGED, open_row, seal_row

FILE_NAME = "idletune.db"
BIN_BYTES = 22 * 1024  # what one dialogue set may take, as in the paper
BUSY_SECONDS = 10.0  # how long to wait for another process's write
EVENTS_KEPT = 5000  # the log is for the last weeks; a phone's storage is not for all of them

# Short columns stand before texts and blobs: SQLite keeps a long row's tail in pages of its own, and the
# buffer reads the short ones at every call. AUTOINCREMENT, because an id may never be used a second time.
_INITIAL = (
    """CREATE TABLE adapters (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        file TEXT NOT NULL,
        base_sha256 TEXT NOT NULL,
        created REAL NOT NULL,
        rank INTEGER NOT NULL, alpha REAL NOT NULL, targets TEXT NOT NULL,
        settings TEXT NOT NULL DEFAULT '{}',          -- JSON
        dialogue_set_ids TEXT NOT NULL DEFAULT '[]',  -- JSON; outlive the sets, to know what was learned
        losses TEXT NOT NULL DEFAULT '{}',            -- JSON
        state TEXT NOT NULL CHECK (state IN ('candidate', 'promoted', 'retired', 'rejected')),
        reason TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE UNIQUE INDEX one_promoted_per_base ON adapters (base_sha256) WHERE state = 'promoted'",
    """CREATE TABLE dialogue_sets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        created REAL NOT NULL,
        domain TEXT NOT NULL,
        eoe REAL NOT NULL, dss REAL NOT NULL, idd REAL NOT NULL,   -- IDD at arrival, it ages
        answered_at REAL,
        learned_in INTEGER REFERENCES adapters (version) ON DELETE SET NULL,
        held_out INTEGER NOT NULL DEFAULT 0,
        embedding BLOB NOT NULL,   -- float32, little-endian
        question TEXT NOT NULL,
        reply TEXT NOT NULL,
        response TEXT,
        CHECK ((response IS NULL) = (answered_at IS NULL))
    )""",
    "CREATE INDEX dialogue_sets_learned_in ON dialogue_sets (learned_in)",
    # A prompt outlives its set, without a word of it: otherwise a replaced set would free a place
    # in the daily limit. One that was not shown yet goes with its set.
    """CREATE TABLE prompts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        dialogue_set_id INTEGER UNIQUE REFERENCES dialogue_sets (id) ON DELETE SET NULL,
        state TEXT NOT NULL DEFAULT 'pending'
            CHECK (state IN ('pending', 'shown', 'accepted', 'edited', 'dismissed', 'never')),
        asked_at REAL,
        answered_at REAL
    )""",
    "CREATE INDEX prompts_asked_at ON prompts (asked_at)",
    """CREATE TRIGGER pending_prompt_goes_with_its_set BEFORE DELETE ON dialogue_sets BEGIN
        DELETE FROM prompts WHERE dialogue_set_id = OLD.id AND state = 'pending';
    END""",
    "CREATE TABLE never_ask (question_hash TEXT PRIMARY KEY, at REAL NOT NULL)",
    """CREATE TABLE synthetic_sets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        dialogue_set_id INTEGER NOT NULL REFERENCES dialogue_sets (id) ON DELETE CASCADE,
        rouge1 REAL NOT NULL,
        question TEXT NOT NULL, response TEXT NOT NULL
    )""",
    "CREATE INDEX synthetic_sets_dialogue_set_id ON synthetic_sets (dialogue_set_id)",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
        detail TEXT NOT NULL   -- JSON
    )""",
)


def m001_initial(db: sqlite3.Connection) -> None:
    for statement in _INITIAL:
        db.execute(statement)


def m002_rounds(db: sqlite3.Connection) -> None:
    """What a round of learning has settled so far, so that a stopped one goes on (rounds.py)."""
    db.execute("""CREATE TABLE rounds (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        started REAL NOT NULL, finished REAL,
        training TEXT NOT NULL, held_out TEXT NOT NULL,  -- JSON: ids of dialogue sets
        key TEXT NOT NULL DEFAULT '',
        measures TEXT NOT NULL DEFAULT '{}'              -- JSON
    )""")


def m003_sealing(db: sqlite3.Connection) -> None:
    """Data keys, wrapped by the host's key; and what an adapter's file must hash to, lest half of one is served."""
    db.execute("CREATE TABLE data_keys (id INTEGER PRIMARY KEY, wrapped BLOB NOT NULL)")
    db.execute("ALTER TABLE adapters ADD COLUMN file_sha256 TEXT NOT NULL DEFAULT ''")  # of the plain bytes


def m004_paraphrase_counters(db: sqlite3.Connection) -> None:
    """That a set was paraphrased is forgotten with the set."""
    db.execute("""CREATE TRIGGER paraphrase_counter_goes_with_its_set AFTER DELETE ON dialogue_sets BEGIN
        DELETE FROM counters WHERE name = 'paraphrased ' || OLD.id;
    END""")
    db.execute("""DELETE FROM counters
        WHERE name LIKE 'paraphrased %' AND name NOT IN (SELECT 'paraphrased ' || id FROM dialogue_sets)""")


def m005_question_embeddings(db: sqlite3.Connection) -> None:
    """What a message is compared with; sets from before have none until they are embedded anew."""
    db.execute("ALTER TABLE dialogue_sets ADD COLUMN question_embedding BLOB")  # float16, little-endian


def m006_answer_losses(db: sqlite3.Connection) -> None:
    """What the second look has measured (review.py): an answer's loss in nats per token under an adapter."""
    db.execute("""CREATE TABLE answer_losses (
        dialogue_set_id INTEGER NOT NULL REFERENCES dialogue_sets (id) ON DELETE CASCADE,
        key TEXT NOT NULL,  -- names the example, the base model and the adapter
        loss REAL NOT NULL,
        PRIMARY KEY (dialogue_set_id, key)
    )""")


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [
    m001_initial, m002_rounds, m003_sealing, m004_paraphrase_counters, m005_question_embeddings, m006_answer_losses,
]

_OUTER = "BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",)
_INNER = "SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part")


@dataclass(frozen=True)
class Event:
    """Something that happened, for the status page: never the user's words."""

    id: int
    at: float
    kind: str
    detail: dict


class Store:
    """The open database. One connection behind one lock, so that any thread may use it.

    `key` (32 bytes) opens an encrypted home, and encrypts a plain one.
    Raises UsageError when the home cannot be used (the key's faults included), StorageError when it cannot be used
    now, DamagedDataError when the database cannot be trusted.
    """

    def __init__(
        self, home: Path, clock: Callable = time.time, busy_seconds: float = BUSY_SECONDS, key: bytes | None = None
    ):
        self.home = make_home(Path(home))
        self.path = self.home / FILE_NAME
        self.clock = clock
        self.lock = threading.RLock()
        self.rollbacks = 0  # who mirrors the database in memory starts anew when this changes
        self.sealer = None  # until the key was checked
        self._after: list[Callable[[], None]] = []
        with self._explained():
            self.db = sqlite3.connect(
                self.path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
                with self.transaction():
                    sealer = open_sealer(self, key)
                self.sealer = sealer
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

    def __exit__(self, *_) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block or none of it; on disk when the outermost block ends.

        Blocks nest: an inner one that raises is undone alone, an outer one takes the inner ones with it.
        """
        with self.lock, self._explained():
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

    def after_commit(self, action: Callable[[], None]) -> None:
        """Do this once the outermost transaction is on disk, at once outside of one: what cannot be undone."""
        with self.lock:
            self._after.append(action)
            self._run_planned()

    def rows(self, sql: str, *values) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self.lock, self._explained():
            return self.db.execute(sql, values).fetchall()

    def row(self, sql: str, *values) -> sqlite3.Row | None:
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

    def log(self, kind: str, **detail) -> None:
        """Record an event, with JSON values that hold none of the user's words; the oldest ones go."""
        with self.transaction() as db:
            values = self.clock(), kind, json.dumps(detail)
            cursor = db.execute("INSERT INTO events (at, kind, detail) VALUES (?, ?, ?)", values)
            db.execute("DELETE FROM events WHERE id <= ?", (cursor.lastrowid - EVENTS_KEPT,))

    def events(self, limit: int = 50, kind: str | None = None) -> list[Event]:
        """The newest events first, all of them or those of one kind."""
        sql = "SELECT * FROM events WHERE ? IS NULL OR kind = ? ORDER BY id DESC LIMIT ?"
        rows = self.rows(sql, kind, kind, limit)
        return [Event(row["id"], row["at"], row["kind"], json.loads(row["detail"])) for row in rows]

    def seal(self, table: str, id: int, **values) -> dict:
        """A row's values as they are stored: sealed where they are the user's and a key was given."""
        return seal_row(self.sealer, table, id, values)

    def unseal(self, table: str, id: int, row) -> dict:
        """The inverse of `seal`, for a row or any part of it."""
        return open_row(self.sealer, table, id, row)

    def next_id(self, table: str) -> int:
        """The id a table gives next; certain within a transaction only."""
        row = self.row("SELECT seq FROM sqlite_sequence WHERE name = ?", table)
        return (row["seq"] if row else 0) + 1

    def check_key(self) -> None:
        """StorageError when another process has changed the key since this one opened the home."""
        newest = self.rows("SELECT max(id) FROM data_keys")[0][0] or 0 if self.sealer else 0
        if self.sealer and newest != self.sealer.newest:
            raise StorageError(f"{self.home}: {KEY_CHANGED}")

    @property
    def encrypted(self) -> bool:
        return self.sealer.newest > 0

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
        with self.transaction() as db:
            db.execute("DELETE FROM counters WHERE name = 'scrub_owed'")

    def _prepare(self) -> None:
        self.db.row_factory = sqlite3.Row
        self._check()
        for setting in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY"):
            self.db.execute(f"PRAGMA {setting}")
        self._write_ahead()
        self._migrate()

    def _tidy(self) -> None:
        """Finish what a kill may have cut short: a change of keys, the removal of deleted text."""
        finish(self)
        if self.counter("scrub_owed"):
            try:
                self.scrub()
            except UsageError:  # another process reads, or the disk is full: still owed
                pass

    def _run_planned(self) -> None:
        while self._after and not self.db.in_transaction:
            self._after.pop(0)()

    def _check(self) -> None:
        # About 1 ms for a full buffer; it finds lost and overwritten pages, not flipped bits in a text.
        problem = self.rows("PRAGMA quick_check(1)")[0][0]
        if problem != "ok":
            raise self._damaged(problem)
        tables = {row["name"] for row in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "idletune_migrations" not in tables:
            raise self._damaged("it is another program's")
        unknown = self._applied() - {migration.__name__ for migration in MIGRATIONS} if tables else set()
        if unknown:
            newer = f"state written by a newer version ({', '.join(sorted(unknown))})"
            raise DamagedDataError(f"{self.path}: {newer}; upgrade IdleTune")

    def _write_ahead(self) -> None:
        # For this, SQLite does not wait for another process that opens the same new file; so we do.
        for wait in (0.02, 0.05, 0.1, 0.2, 0.5, None):
            try:
                self.db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if wait is None or "locked" not in str(error):
                    raise
                time.sleep(wait)

    def _migrate(self) -> None:
        with self.transaction() as db:  # another process may be opening the same file: look inside the lock
            db.execute("CREATE TABLE IF NOT EXISTS idletune_migrations (name TEXT PRIMARY KEY, at REAL)")
            applied = self._applied()
            for migration in MIGRATIONS:
                name = migration.__name__
                if name not in applied:
                    migration(db)
                    db.execute("INSERT INTO idletune_migrations VALUES (?, ?)", (name, self.clock()))

    def _applied(self) -> set[str]:
        return {row["name"] for row in self.rows("SELECT name FROM idletune_migrations")}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors in the user's terms; those that tell of our own faults pass as they are."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if explained := self._explain(str(error)):
                raise explained from error
            raise
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # IntegrityError and its like
                raise
            raise self._damaged(str(error)) from error

    def _explain(self, problem: str) -> Exception | None:
        if "decode" in problem:
            return self._damaged(problem)
        for sign, next_step in (
            ("locked", "another IdleTune is writing to it; wait for it or close it"),
            ("full", "free some storage and try again"),
            ("unable to open", "check that it is a file of yours"),
            ("readonly", "give yourself the right to write it"),
            ("disk I/O", "check the storage and its free space"),
        ):
            if sign in problem:
                return StorageError(f"{self.path}: {problem}; {next_step}")
        return None

    def _damaged(self, problem: str) -> DamagedDataError:
        return DamagedDataError(
            f"{self.path} is not a sound IdleTune database ({problem});"
            " put a backup in its place, or move it away to start anew"
        )


def open_store(home: Path, settings) -> Store:
    """The database alone, with the key the settings name; for what needs no model."""
    return Store(home, key=read_key(Path(settings.key_file)) if settings.key_file else None)


def size_of_embeddings(hidden: int) -> int:
    """Bytes of a set's embeddings: the exchange's in float32, the question's in float16."""
    return 6 * hidden


def check_bin(texts: tuple[str, ...], embedding_bytes: int, limit: int) -> None:
    """Raise UsageError unless the texts, as UTF-8, and the embedding fit one bin of `limit` bytes."""
    try:
        text_bytes = sum(len(text.encode("utf-8")) for text in texts)
    except UnicodeEncodeError as error:  # JSON can smuggle half a character in, as \ud83d
        raise UsageError(f"half a character at position {error.start}; send whole Unicode text") from None
    size = text_bytes + embedding_bytes
    if size > limit:
        raise UsageError(
            f"{size} bytes ({text_bytes} of text, {embedding_bytes} of embedding) are more than"
            f" the {limit} bytes of a bin; shorten the text or raise the limit"
        )
