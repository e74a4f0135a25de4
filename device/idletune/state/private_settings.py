"""The settings that hold the user's own words: beside a key they lie encrypted in the database.

settings.json stays readable for the rest, and says IN_DATABASE where a private one was. One that stands there in plain
(written by hand, by an earlier version, or before there was a key) is moved by the next start with the key.
"""

import sqlite3
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from ..settings import Settings, load_settings, save_settings
from ..small_files import half_character

if TYPE_CHECKING:
    from .store import Store

PRIVATE = ("system",)
IN_DATABASE = "(encrypted, in idletune.db)"
FILE = "settings.json"
TABLE = "private_settings"


def keep(store: "Store", changes: dict) -> None:
    """Put changes into the home's settings; all of them or none. Errors as from save_settings."""
    with store.transaction() as db:
        if store.encrypted:
            for name in set(changes) & set(PRIVATE):
                _encrypt(store, db, name, changes[name])
                changes = {**changes, name: IN_DATABASE}
        save_settings(store.home / FILE, changes)


def kept(store: "Store") -> dict:
    """All settings of the home, with the private ones in plain."""
    return _opened(store, load_settings(store.home / FILE))


def opened(store: "Store", settings: Settings) -> Settings:
    """Settings that were made from settings.json, with the private ones in plain."""
    return replace(settings, **_opened(store, {name: asdict(settings)[name] for name in PRIVATE}))


def move(store: "Store") -> None:
    """Encrypt what stands in settings.json in plain; in a home without a key nothing is done."""
    values = load_settings(store.home / FILE) if store.encrypted else {}
    plain = {name: values[name] for name in PRIVATE if _is_plain(values.get(name))}
    if plain:
        keep(store, plain)


def _is_plain(value) -> bool:
    """Whether a value from the file is words. What is no text (it was written by hand) is refused where it is used."""
    return isinstance(value, str) and value not in ("", IN_DATABASE) and half_character(value) is None


def _opened(store: "Store", values: dict) -> dict:
    names = [name for name in PRIVATE if values.get(name) == IN_DATABASE]
    return {**values, **{name: _decrypt(store, name) for name in names}}


def _encrypt(store: "Store", db: sqlite3.Connection, name: str, value: str) -> None:
    row = store.row(f"SELECT id FROM {TABLE} WHERE name = ?", name)
    id = row["id"] if row else store.next_id(TABLE)
    values = {"id": id, **store.encrypt(TABLE, id, name=name, value=value)}
    db.execute(f"INSERT OR REPLACE INTO {TABLE} (id, name, value) VALUES (:id, :name, :value)", values)


def _decrypt(store: "Store", name: str) -> str:
    """Its default where the database has none: the file was copied from another home."""
    row = store.row(f"SELECT id, value FROM {TABLE} WHERE name = ?", name)
    return store.decrypt(TABLE, row["id"], row)["value"] if row else ""
