"""The labels of dialogue sets (labels.py): JSON, encrypted like their texts, and gone with them."""

import json
from collections.abc import Mapping

from .store import Store

TABLE = "set_labels"


def record(store: Store, dialogue_set_id: int, labels: Mapping[str, str]) -> None:
    """Keep a new set's labels, in the transaction that inserts it; no row where it has none."""
    if not labels:
        return
    with store.transaction() as db:
        id = store.next_id(TABLE)
        value = store.encrypt(TABLE, id, labels=json.dumps(labels, ensure_ascii=False))["labels"]
        db.execute(
            "INSERT INTO set_labels (id, dialogue_set_id, labels) VALUES (?, ?, ?)", (id, dialogue_set_id, value)
        )


def by_set(store: Store) -> dict[int, dict[str, str]]:
    """The labels of all sets that have some, by the set's id."""
    rows = store.rows("SELECT * FROM set_labels ORDER BY id")
    opened = ((row["dialogue_set_id"], store.decrypt(TABLE, row["id"], row)["labels"]) for row in rows)
    return {id: json.loads(labels) for id, labels in opened}
