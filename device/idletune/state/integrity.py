"""Checks that the database can be trusted, and what is said when it cannot be used.

SQLite lets any value stand in any column, and a damaged page may list fewer tables: when a home is opened, its
schema is compared with the one the migrations make.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from ..errors import DamagedDataError, StorageError
from . import schema
from .cipher import ENCRYPTED_COLUMNS

# By a column's type, what may stand in it.
HELD = {
    "INTEGER": "'integer', 'null'",
    "REAL": "'integer', 'real', 'null'",
    "TEXT": "'text', 'null'",
    "ENCRYPTED TEXT": "'text', 'blob', 'null'",  # a blob once it is encrypted
    "BLOB": "'blob', 'null'",
}
LARGEST_TIME = 1e11  # seconds since 1970: beyond any clock, and what a date can be made of
NEXT_STEPS = {  # by a word of SQLite's message
    "locked": "another IdleTune is writing to it; wait for it or close it",
    "full": "free some storage and try again",
    "unable to open": "check that it is a file of yours",
    "readonly": "give yourself the right to write it",
    "disk I/O": "check the storage and its free space",
}


def check_file(db: sqlite3.Connection, path: Path) -> None:
    """DamagedDataError unless this is a database of ours, whole, and of no newer version."""
    # About 1 ms for a full buffer; it finds lost and overwritten pages, not flipped bits in a text.
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise damaged(path, problem)
    tables = {row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "idletune_migrations" not in tables:
        raise damaged(path, "it is another program's")
    known = {migration.__name__ for migration in schema.MIGRATIONS}
    unknown = set(map(str, applied_migrations(db))) - known if tables else set()
    if unknown:
        newer = f"state written by a newer version ({', '.join(sorted(unknown))})"
        raise DamagedDataError(f"{path}: {newer}; upgrade IdleTune")


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """DamagedDataError unless all tables with their columns, indexes and triggers are there and hold the kinds of
    values they should."""
    wanted, found = schema.schema_after(tuple(schema.MIGRATIONS)), schema.schema_of(db)
    for name, columns in wanted.items():
        if name not in found or not columns.items() <= found[name].items():
            raise damaged(path, f"{name} is missing or incomplete")
    for (table,) in db.execute(_odd_values(tuple(schema.MIGRATIONS))):
        raise damaged(path, f"{table} holds other values than it should")
    _check_given_ids(db, path)


@cache
def _odd_values(migrations: tuple[Callable[[sqlite3.Connection], None], ...]) -> str:
    """A statement that names the tables with a value its column cannot hold; one for all, as each takes its time."""
    parts = []
    for table, columns in schema.schema_after(migrations).items():
        kinds = {name: _kind(table, name, kind) for name, kind in columns.items()}
        odd = " OR ".join(f"typeof({name}) NOT IN ({HELD[kind]})" for name, kind in kinds.items() if kind in HELD)
        if odd:
            parts.append(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table} WHERE {odd})")
    return " UNION ALL ".join(parts)


def _kind(table: str, column: str, kind: str) -> str:
    return "ENCRYPTED TEXT" if kind == "TEXT" and column in ENCRYPTED_COLUMNS.get(table, ()) else kind


def _check_given_ids(db: sqlite3.Connection, path: Path) -> None:
    """DamagedDataError unless SQLite's record of the ids it has given reaches the newest row of every table."""
    numbered = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
    known = schema.schema_after(tuple(schema.MIGRATIONS))
    tables = [row["name"] for row in db.execute(numbered) if row["name"] in known]
    given = {row["name"]: row["seq"] for row in db.execute("SELECT name, seq FROM sqlite_sequence")}
    newest = " UNION ALL ".join(f"SELECT '{table}', coalesce(max(rowid), 0) FROM {table}" for table in tables)
    for table, id in db.execute(newest).fetchall():
        last = given.get(table, 0)
        if type(last) is not int or last < id:
            raise damaged(path, f"which ids of {table} were given is lost")


def applied_migrations(db: sqlite3.Connection) -> set[str]:
    """The names of the migrations that this database has been through."""
    return {row["name"] for row in db.execute("SELECT name FROM idletune_migrations")}


@contextmanager
def errors_explained(path: Path) -> Iterator[None]:
    """SQLite's errors in the user's terms; those that tell of our own faults pass as they are."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if explained := explain(path, str(error)):
            raise explained from error
        raise
    except UnicodeDecodeError as error:  # a table's or a column's name
        raise damaged(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:  # IntegrityError and its like
            raise
        raise damaged(path, str(error)) from error


def explain(path: Path, problem: str) -> DamagedDataError | StorageError | None:
    """The error to raise for a message of SQLite's; None for a fault of our own."""
    if "decode" in problem:
        return damaged(path, problem)
    for sign, next_step in NEXT_STEPS.items():
        if sign in problem:
            return StorageError(f"{path}: {problem}; {next_step}")
    return None


def damaged(path: Path, problem: str) -> DamagedDataError:
    """The error for a database that cannot be trusted."""
    return DamagedDataError(
        f"{path} is not a sound IdleTune database ({problem}); put a backup in its place, or move it away to start anew"
    )
