"""Migration 16: events that decisions read become rows of tables (schedule_records.py, verdicts.py, comparisons.py).

What an event does not tell, or tells in another type, was damaged: it takes part as far as it can be understood.
"""

import json
import sqlite3
from collections.abc import Callable
from math import isfinite
from typing import Any

from ..small_files import parse_json

LARGEST_TIME, LARGEST_INTEGER = 1e11, 2**53
TABLES = (
    """CREATE TABLE moments (  -- at which both clocks were read, in order
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        wall REAL NOT NULL, uptime REAL NOT NULL, boot TEXT NOT NULL
    )""",
    """CREATE TABLE window_decisions (
        moment_id INTEGER PRIMARY KEY REFERENCES moments (id) ON DELETE CASCADE,
        open INTEGER NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL
    )""",
    """CREATE TABLE clock_jumps (
        moment_id INTEGER PRIMARY KEY REFERENCES moments (id) ON DELETE CASCADE,
        moved_seconds REAL NOT NULL
    )""",
    """CREATE TABLE slices (
        start_id INTEGER PRIMARY KEY REFERENCES moments (id) ON DELETE CASCADE,
        end_id INTEGER REFERENCES moments (id) ON DELETE SET NULL,  -- NULL: it runs, or was killed
        seconds REAL, outcome TEXT, stopped_by TEXT
    )""",
    "CREATE INDEX slices_end_id ON slices (end_id)",
    """CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, version INTEGER NOT NULL,
        promoted INTEGER NOT NULL, suspicious INTEGER NOT NULL, reason TEXT NOT NULL
    )""",
    """CREATE TABLE dropped_adapters (  -- versions that were in use
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, version INTEGER NOT NULL, reason TEXT NOT NULL,
        verdict_id INTEGER NOT NULL  -- the last verdict before; 0: there was none
    )""",
    """CREATE TABLE comparisons (  -- of adapter monitoring
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, version INTEGER NOT NULL, before_version INTEGER,
        worse REAL NOT NULL, error REAL NOT NULL, rolled_back INTEGER NOT NULL,
        dialogue_set_ids TEXT NOT NULL  -- JSON
    )""",
)


class _Event:
    """An event of before. `at` is None where its time was damaged."""

    def __init__(self, row: sqlite3.Row):
        try:
            detail = parse_json(row["detail"])
        except (ValueError, TypeError):
            detail = {}
        self.detail: dict[str, Any] = detail if isinstance(detail, dict) else {}
        self.kind, self.at = row["kind"], row["at"]
        self.is_sound = isinstance(self.at, (int, float)) and 0 <= self.at < LARGEST_TIME

    def text(self, name: str, default: str | None = "") -> Any:
        value = self.detail.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: float | None = 0.0) -> Any:
        value = self.detail.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
            return default
        return value if abs(value) < LARGEST_TIME else default

    def integer(self, name: str) -> int | None:
        value = self.detail.get(name)
        return value if type(value) is int and abs(value) < LARGEST_INTEGER else None

    def moment(self) -> tuple[float, float, str]:
        """What both clocks showed; of a damaged event, the wall clock alone is known."""
        wall, uptime, boot = self.number("wall", None), self.number("uptime", None), self.text("boot", None)
        known = wall is not None and uptime is not None and boot is not None and min(wall, uptime) >= 0
        return (wall, uptime, boot) if known else (self.at, 0.0, "")


def move(db: sqlite3.Connection) -> None:
    """Move the events of all kinds that have a table; the others stay in the log."""
    kinds = ", ".join(map(repr, _MOVES))
    for row in db.execute(f"SELECT kind, at, detail FROM events WHERE kind IN ({kinds}) ORDER BY id").fetchall():
        event = _Event(row)
        if event.is_sound:
            _MOVES[event.kind](db, event)
    db.execute(f"DELETE FROM events WHERE kind IN ({kinds})")


def _window(db: sqlite3.Connection, event: _Event) -> None:
    if (code := event.text("code", None)) is not None:
        values = _add_moment(db, event), event.detail.get("open") is True, code, event.text("reason")
        db.execute("INSERT INTO window_decisions VALUES (?, ?, ?, ?)", values)


def _clock(db: sqlite3.Connection, event: _Event) -> None:
    db.execute("INSERT INTO clock_jumps VALUES (?, ?)", (_add_moment(db, event), event.number("moved_seconds")))


def _slice(db: sqlite3.Connection, event: _Event) -> None:
    """That a slice was begun counts, whatever is known of it."""
    db.execute("INSERT INTO slices (start_id) VALUES (?)", (_add_moment(db, event),))


def _slice_end(db: sqlite3.Connection, event: _Event) -> None:
    """The end of the slice that began last; a start that another start followed was killed."""
    values = _add_moment(db, event), event.number("seconds"), event.text("outcome"), event.text("stopped_by", None)
    sql = "UPDATE slices SET end_id = ?, seconds = ?, outcome = ?, stopped_by = ?"
    db.execute(f"{sql} WHERE start_id = (SELECT max(start_id) FROM slices)", values)


def _gate(db: sqlite3.Connection, event: _Event) -> None:
    version, promoted = event.integer("version"), event.detail.get("promoted")
    if version is not None and isinstance(promoted, bool):
        values = event.at, version, promoted, event.detail.get("suspicious") is True, event.text("reason")
        sql = "INSERT INTO verdicts (at, version, promoted, suspicious, reason) VALUES (?, ?, ?, ?, ?)"
        db.execute(sql, values)


def _dropped(db: sqlite3.Connection, event: _Event) -> None:
    if (version := event.integer("version")) is not None:
        judged = "(SELECT coalesce(max(id), 0) FROM verdicts)"
        sql = f"INSERT INTO dropped_adapters (at, version, reason, verdict_id) VALUES (?, ?, ?, {judged})"
        db.execute(sql, (event.at, version, event.text("reason")))


def _review(db: sqlite3.Connection, event: _Event) -> None:
    version, ids = event.integer("version"), event.detail.get("sets")
    if version is not None and isinstance(ids, list) and all(type(id) is int for id in ids):
        losses = event.number("worse"), event.number("error")
        rolled_back = event.detail.get("rolled_back") is True
        db.execute(
            """INSERT INTO comparisons (at, version, before_version, worse, error, rolled_back, dialogue_set_ids)
            VALUES (?, ?, ?, ?, ?, ?, ?)""",
            (event.at, version, event.integer("before"), *losses, rolled_back, json.dumps(ids)),
        )


def _add_moment(db: sqlite3.Connection, event: _Event) -> int:
    return db.execute("INSERT INTO moments (wall, uptime, boot) VALUES (?, ?, ?)", event.moment()).lastrowid or 0


_MOVES: dict[str, Callable[[sqlite3.Connection, _Event], None]] = {
    "window": _window,
    "clock": _clock,
    "slice": _slice,
    "slice_end": _slice_end,
    "gate": _gate,
    "dropped": _dropped,
    "review": _review,
}
