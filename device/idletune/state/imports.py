"""The record of imports: which files of conversations were read in, and which dialogue sets came of each.

- Of every exchange that was looked at a digest is kept, so that it is never taken twice; with a key it is a keyed one.
  The digest stays when a single set is forgotten, so that the next import does not bring it back.
- Which sets came of an import outlives them: an adapter that learned from one can still be found by its file.
"""

import hashlib
from dataclasses import dataclass

from ..errors import UsageError
from .annotation import question_hash
from .store import Store

MOST_LISTED = 10


@dataclass(frozen=True)
class ImportRecord:
    """One import of one file. `mode` is "answers" or "stream"; `finished` is None where it was cut short."""

    id: int
    name: str
    format: str
    mode: str
    started: float  # seconds since 1970
    finished: float | None
    taken: int  # exchanges that were looked at
    kept: int  # of them, those still in the buffer

    def to_dict(self) -> dict:
        """As JSON has it."""
        return dict(vars(self))


def digest_of(store: Store, question: str, response: str) -> str:
    """What tells an exchange from others; the same for spellings that differ in case, spaces or Unicode form only."""
    both = question_hash(question) + question_hash(response)
    return store.cipher.digest(hashlib.sha256(both.encode()).hexdigest())


def begin(store: Store, name: str, format: str, mode: str) -> int:
    """Note an import that begins; returns its number."""
    with store.transaction() as db:
        id = store.next_id("imports")
        values = (id, format, mode, store.clock(), store.encrypt("imports", id, name=name)["name"])
        db.execute("INSERT INTO imports (id, format, mode, started, name) VALUES (?, ?, ?, ?, ?)", values)
        return id


def finish(store: Store, id: int) -> None:
    """Note that all of the file was read."""
    with store.transaction() as db:
        db.execute("UPDATE imports SET finished = ? WHERE id = ?", (store.clock(), id))


def is_taken(store: Store, digest: str) -> bool:
    """Whether an exchange was imported before, and not forgotten with its file."""
    return store.row("SELECT 1 FROM imported_exchanges WHERE digest = ?", digest) is not None


def take(store: Store, id: int, digest: str, dialogue_set_id: int | None, answered: bool) -> None:
    """Note an exchange, and the set it is kept as, in the transaction that inserts the set."""
    with store.transaction() as db:
        db.execute("INSERT OR IGNORE INTO imported_exchanges (digest, import_id) VALUES (?, ?)", (digest, id))
        if dialogue_set_id is not None:
            sql = "INSERT INTO imported_sets (dialogue_set_id, import_id, answered) VALUES (?, ?, ?)"
            db.execute(sql, (dialogue_set_id, id, answered))


def imports(store: Store) -> list[ImportRecord]:
    """All imports, oldest first."""
    sql = """SELECT *, (SELECT count(*) FROM imported_exchanges WHERE import_id = imports.id) AS taken,
        (SELECT count(*) FROM imported_sets JOIN dialogue_sets ON dialogue_sets.id = dialogue_set_id
            WHERE import_id = imports.id) AS kept
        FROM imports ORDER BY id"""
    return [ImportRecord(**store.decrypt("imports", row["id"], row)) for row in store.rows(sql)]


def sets_of(store: Store, id: int) -> list[int]:
    """The sets that came of an import, those that left the buffer included."""
    sql = "SELECT dialogue_set_id FROM imported_sets WHERE import_id = ? ORDER BY dialogue_set_id"
    return [row[0] for row in store.rows(sql, id)]


def came_of(store: Store, dialogue_set_id: int) -> int | None:
    """The import that a set came of; None for one of another door."""
    row = store.row("SELECT import_id FROM imported_sets WHERE dialogue_set_id = ?", dialogue_set_id)
    return row["import_id"] if row else None


def find(store: Store, named: str) -> ImportRecord:
    """The import of this number, or the newest of a file of this name. UsageError for an unknown one."""
    known = imports(store)
    found = [record for record in known if named in (str(record.id), record.name)]
    if not found:
        listed = ", ".join(f"{record.id} ({record.name})" for record in known[-MOST_LISTED:]) or "none"
        raise UsageError(f"no import {named!r}; those that are known: {listed}")
    return found[-1]


def remove(store: Store, id: int) -> None:
    """Drop the record of an import, its digests too: the file may be imported anew."""
    with store.transaction() as db:
        for table, column in (("imported_sets", "import_id"), ("imported_exchanges", "import_id"), ("imports", "id")):
            db.execute(f"DELETE FROM {table} WHERE {column} = ?", (id,))
