"""A round of learning: which answers it is about and what it has measured, kept so that it can go on.

A round may take several windows. Its sets are settled when it begins: answers that come in between wait
for the next one, and the training checkpoint stays valid. Measures are kept part by part under a key
that names all they depend on; under another key they are taken anew.
"""

import json

from ..state.store import Store

LEAST_ANSWERS = 5  # below this there is nothing to hold out and little to learn

_NEW_ANSWERS = """
    SELECT id FROM dialogue_sets WHERE response IS NOT NULL AND learned_in IS NULL"""


class Round:
    """One row of the rounds table."""

    def __init__(self, store: Store, row):
        self.store, self.id, self.key = store, row["id"], row["key"]
        self.training: list[int] = json.loads(row["training"])
        self.held_out: list[int] = json.loads(row["held_out"])
        self.measures: dict = json.loads(row["measures"])

    @property
    def sets(self) -> set[int]:
        return {*self.training, *self.held_out}

    def under(self, key: str) -> None:
        """Drop the measures unless they were taken under this key."""
        if key != self.key:
            self.key, self.measures = key, {}

    def keep(self, name: str, value):
        """Remember a measure (a JSON value), on disk when this returns; returns it."""
        self.measures[name] = value
        with self.store.transaction() as db:
            sql = "UPDATE rounds SET key = ?, measures = ? WHERE id = ?"
            db.execute(sql, (self.key, json.dumps(self.measures), self.id))
        return value

    def finish(self) -> None:
        with self.store.transaction() as db:
            db.execute("UPDATE rounds SET finished = ? WHERE id = ?", (self.store.clock(), self.id))

    def abandon(self) -> None:
        """It cannot be finished: as if it had never begun."""
        with self.store.transaction() as db:
            db.execute("DELETE FROM rounds WHERE id = ?", (self.id,))


def open_round(store: Store) -> Round | None:
    """The round that was begun and not finished."""
    row = store.row("SELECT * FROM rounds WHERE finished IS NULL ORDER BY id DESC")
    return Round(store, row) if row else None


def begin_round(store: Store, training: list[int], held_out: list[int]) -> Round:
    with store.transaction() as db:
        values = store.clock(), json.dumps(training), json.dumps(held_out)
        id = db.execute("INSERT INTO rounds (started, training, held_out) VALUES (?, ?, ?)", values).lastrowid
        return Round(store, store.row("SELECT * FROM rounds WHERE id = ?", id))


def new_answers(store: Store) -> int:
    """Answers that no finished round has looked at yet: one that was rejected is not tried again without more."""
    row = store.row("SELECT training, held_out FROM rounds WHERE finished IS NOT NULL ORDER BY id DESC")
    seen = {*json.loads(row["training"]), *json.loads(row["held_out"])} if row else set()
    return len({row["id"] for row in store.rows(_NEW_ANSWERS)} - seen)
