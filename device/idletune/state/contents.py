"""Everything that is kept of the user, as plain records: what `export-my-data` writes."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from ..small_files import parse_json
from .cipher import ENCRYPTED_COLUMNS
from .store import Store

# Derived by the machine and of no use to a reader, or of no meaning outside of this home.
LEFT_OUT = ("embedding", "question_embedding", "question_hash", "digest", "shown")
LEFT_OUT_TABLES = ("data_keys", "idletune_migrations", "private_settings", "sqlite_sequence")  # of settings: opened
# Never the user's own words.
JSON_COLUMNS = ("settings", "dialogue_set_ids", "losses", "detail", "training", "held_out", "measures", "written_from")


def tables_of(store: Store) -> dict[str, list[dict[str, Any]]]:
    """The records of each table but those of no meaning outside.

    A table that a later version adds is among them without a word here.
    """
    rows = store.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    names = [row["name"] for row in rows if row["name"] not in LEFT_OUT_TABLES]
    return {table: list(_records(store, table)) for table in names}


def _records(store: Store, table: str) -> Iterator[dict[str, Any]]:
    for row in store.rows(f"SELECT * FROM {table}"):
        values = store.decrypt(table, row["id"], row) if table in ENCRYPTED_COLUMNS else dict(row)
        plain = {name: _plain(name, value) for name, value in values.items() if name not in LEFT_OUT}
        yield {"record": table, **plain}


def _plain(name: str, value):
    """A column's value as JSON can say it: what JSON text says, or the text where it is damaged; no NaN, no bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    try:
        return parse_json(value, parse_constant=str) if name in JSON_COLUMNS and isinstance(value, str) else value
    except ValueError:
        return value
