"""Descent: which sets, replies and adapters came of a dialogue set.

A set descends from another when its reply was written with that one shown to the model, or by an adapter that knows
it. The user's own answer descends from nothing: of such a set only the reply goes, question and answer stay. What
the user keeps on purpose is cleared: it descends from the forgotten set no more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from . import provenance
from .store import Store

_OWN_ANSWERS = """
    SELECT id FROM dialogue_sets WHERE answered_at IS NOT NULL AND id NOT IN (
        SELECT dialogue_set_id FROM prompts WHERE dialogue_set_id IS NOT NULL AND state = 'accepted'
    )"""


@dataclass(frozen=True)
class Descent:
    """Dialogue sets and what came of them, as ids in ascending order."""

    sets: list[int]  # they and those that go whole
    replies: list[int]  # sets with the user's own answer, whose reply goes
    adapters: list[int]  # versions that know one of `sets`, dropped ones included


def descent_of(store: Store, ids: Iterable[int], reach: str = "all") -> Descent:
    """What comes of these sets, themselves included, as far as `reach` (reach.py) says."""
    given = frozenset(ids)
    with store.transaction():
        own, sets, replies, adapters = _ids(store, _OWN_ANSWERS), set(given), set[int](), set[int]()
        found = set(given)
        while found:
            sets |= found
            for each in found:
                adapters |= provenance.versions_knowing(store, each, through_replies=reach != "none")
            descendants = _written_from(store, sets, adapters, reach) - given
            replies |= descendants & own
            found = descendants - own - sets
    return Descent(sorted(sets), sorted(replies), sorted(adapters))


def is_known(store: Store, id: int) -> bool:
    """Whether a set is in the buffer, or something that is kept came of it."""
    return any(
        store.row(sql, id)
        for sql in (
            "SELECT 1 FROM dialogue_sets WHERE id = ?",
            "SELECT 1 FROM dialogue_set_sources WHERE source_id = ?",
            "SELECT 1 FROM adapter_sets JOIN adapters ON version = adapter_version"
            " WHERE dialogue_set_id = ? AND state != 'rejected'",
        )
    )


def clear(store: Store, found: Descent) -> None:
    """After `found` is gone: what is left descends from it no more. In the transaction that removes it."""
    with store.transaction() as db:
        db.executemany("DELETE FROM dialogue_set_sources WHERE source_id = ?", [(id,) for id in found.sets])
        versions = [(version,) for version in found.adapters]
        db.executemany("DELETE FROM dialogue_set_adapters WHERE adapter_version = ?", versions)
        kept = "SELECT version FROM adapters WHERE state != 'rejected'"
        sql = f"DELETE FROM adapter_sets WHERE dialogue_set_id = ? AND adapter_version IN ({kept})"
        db.executemany(sql, [(id,) for id in found.sets])


def _written_from(store: Store, sets: set[int], adapters: set[int], reach: str) -> set[int]:
    """Buffered sets whose reply was written from one of these."""
    shown = "SELECT dialogue_set_id FROM dialogue_set_sources WHERE source_id = ?"
    wrote = "SELECT dialogue_set_id FROM dialogue_set_adapters WHERE adapter_version = ?"
    pairs = [(shown, id) for id in sets if reach != "none"] + [(wrote, id) for id in adapters if reach == "all"]
    return {found for sql, id in pairs for found in _ids(store, sql, id)}


def _ids(store: Store, sql: str, *values: object) -> set[int]:
    return {row[0] for row in store.rows(sql, *values)}
