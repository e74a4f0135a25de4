"""The table of training runs (named rounds): what each is about and what it has measured, so that it can go on."""

import json

from ..small_files import parse_json
from .store import Store


class TrainingRun:
    """One row. ValueError for a damaged one."""

    def __init__(self, store: Store, row):
        self.store, self.id, self.key, self.form = store, row["id"], row["key"], row["form"]
        self.training, self.held_out = ids_of_json(row["training"]), ids_of_json(row["held_out"])
        self.measures: dict = parse_json(row["measures"])
        if not isinstance(self.measures, dict):
            raise ValueError("measures are an object")

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

    def keep_form(self, form: str) -> None:
        """Remember the form of its memory plan, which it is to be trained in to its end."""
        if form != self.form:
            with self.store.transaction() as db:
                db.execute("UPDATE rounds SET form = ? WHERE id = ?", (form, self.id))
            self.form = form

    def finish(self) -> None:
        with self.store.transaction() as db:
            db.execute("UPDATE rounds SET finished = ? WHERE id = ?", (self.store.clock(), self.id))

    def abandon(self) -> None:
        """It cannot be finished: as if it had never begun."""
        with self.store.transaction() as db:
            db.execute("DELETE FROM rounds WHERE id = ?", (self.id,))


def begin_run(store: Store, training: list[int], held_out: list[int]) -> TrainingRun:
    """Record a run over these sets, and open it."""
    with store.transaction() as db:
        values = store.clock(), json.dumps(training), json.dumps(held_out)
        id = db.execute("INSERT INTO rounds (started, training, held_out) VALUES (?, ?, ?)", values).lastrowid
        return TrainingRun(store, store.row("SELECT * FROM rounds WHERE id = ?", id))


def open_run(store: Store) -> TrainingRun | None:
    """The run that was begun and not finished; a damaged one is as if it had never begun."""
    return _run(store, "SELECT * FROM rounds WHERE finished IS NULL ORDER BY id DESC")


def last_finished_run(store: Store) -> TrainingRun | None:
    """The run that was finished last; None before the first, and where its row is damaged."""
    return _run(store, "SELECT * FROM rounds WHERE finished IS NOT NULL ORDER BY id DESC")


def ids_of_json(text: str) -> list[int]:
    """Ids of dialogue sets from JSON; ValueError for anything else."""
    ids = parse_json(text)
    if not isinstance(ids, list) or not all(type(id) is int for id in ids):
        raise ValueError("not a list of ids")
    return ids


def _run(store: Store, sql: str) -> TrainingRun | None:
    row = store.row(sql)
    try:
        return TrainingRun(store, row) if row else None
    except ValueError:
        return None
