"""The log: what happened, for people who look into a home. No decision reads it, and no word of the user is in it."""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from ..small_files import parse_json
from .integrity import LARGEST_TIME
from .store import Store

EVENTS_KEPT = 5000  # the last weeks; a phone's storage is not for all of them


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    id: int
    at: float
    kind: str
    detail: dict[str, Any]


def log(store: Store, kind: str, **detail: object) -> None:
    """Record an event, with JSON values that hold none of the user's words; the oldest ones go."""
    with store.transaction() as db:
        values = store.clock(), kind, json.dumps(detail)
        last = db.execute("INSERT INTO events (at, kind, detail) VALUES (?, ?, ?)", values).lastrowid or 0
        db.execute("DELETE FROM events WHERE id <= ?", (last - EVENTS_KEPT,))


def events(store: Store, limit: int = 50, kind: str | None = None) -> list[Event]:
    """The newest events first, all of them or those of one kind; damaged ones are left out."""
    sql = "SELECT * FROM events WHERE ? IS NULL OR kind = ? ORDER BY id DESC LIMIT ?"
    return [event for event in map(_event, store.rows(sql, kind, kind, limit)) if event]


def _event(row: sqlite3.Row) -> Event | None:
    try:
        detail = parse_json(row["detail"])
    except (ValueError, TypeError):
        return None
    sound = isinstance(detail, dict) and 0 <= row["at"] < LARGEST_TIME
    return Event(row["id"], row["at"], row["kind"], detail) if sound else None
