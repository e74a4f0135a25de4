"""The table of comparisons: what adapter monitoring found of the version in use and the one before."""

import json

from .run_records import ids_of_json
from .store import Store

KEPT = 1000


def record_comparison(
    store: Store,
    version: int,
    before: int | None,
    worse: float,
    error: float,
    rolled_back: bool,
    dialogue_set_ids: list[int],
) -> None:
    """Keep one. `worse` and its standard `error` are in nats per token; `before` is None for the base model."""
    with store.transaction() as db:
        last = db.execute(
            """INSERT INTO comparisons (at, version, before_version, worse, error, rolled_back, dialogue_set_ids)
            VALUES (?, ?, ?, ?, ?, ?, ?)""",
            (store.clock(), version, before, worse, error, rolled_back, json.dumps(dialogue_set_ids)),
        ).lastrowid
        db.execute("DELETE FROM comparisons WHERE id <= ?", ((last or 0) - KEPT,))


def compared_sets(store: Store, version: int) -> list[int]:
    """The sets whose answers the last comparison was over, if it was of this version; [] where it is damaged."""
    row = store.row("SELECT version, dialogue_set_ids FROM comparisons ORDER BY id DESC LIMIT 1")
    if row is None or row["version"] != version:
        return []
    try:
        return ids_of_json(row["dialogue_set_ids"])
    except ValueError:
        return []
