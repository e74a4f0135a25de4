"""Provenance: which dialogue sets a reply was written from, and which ones an adapter knows.

- Sources are flattened when a reply is written, so they outlive the sets and the turns that they went through.
- An answer the user typed is his own words and descends from nothing. An accepted answer is the model's reply and
  descends from all that the reply was written from.
- An adapter knows the sets it was trained on, those its parent knows, and the sources of the replies it learned.
"""

from collections.abc import Iterable

from ..dialogue import Provenance
from ..errors import UsageError
from .set_records import any_forgotten
from .store import Store

_SHOWS_REPLY = """
    SELECT 1 FROM dialogue_sets WHERE id = ?1 AND (response IS NULL OR EXISTS (
        SELECT 1 FROM prompts WHERE dialogue_set_id = ?1 AND state = 'accepted'))"""


def record(store: Store, id: int, provenance: Provenance) -> None:
    """Keep what the reply of a set was written from, beside what is kept of it already."""
    with store.transaction() as db:
        sources, versions = (
            [(id, other) for other in sorted(found)] for found in (provenance.sets, provenance.adapters)
        )
        db.executemany("INSERT OR IGNORE INTO dialogue_set_sources (dialogue_set_id, source_id) VALUES (?, ?)", sources)
        db.executemany(
            "INSERT OR IGNORE INTO dialogue_set_adapters (dialogue_set_id, adapter_version) VALUES (?, ?)", versions
        )


def remove(store: Store, id: int) -> None:
    """Forget what the reply of a set was written from, in the transaction that removes the reply."""
    with store.transaction() as db:
        for table in ("dialogue_set_sources", "dialogue_set_adapters"):
            db.execute(f"DELETE FROM {table} WHERE dialogue_set_id = ?", (id,))


def of_reply(store: Store, id: int) -> Provenance:
    """What the reply of a buffered set was written from."""
    sources = store.rows("SELECT source_id FROM dialogue_set_sources WHERE dialogue_set_id = ?", id)
    versions = store.rows("SELECT adapter_version FROM dialogue_set_adapters WHERE dialogue_set_id = ?", id)
    return Provenance(frozenset(row[0] for row in sources), frozenset(row[0] for row in versions))


def of_answers(store: Store, ids: Iterable[int]) -> Provenance:
    """What whoever is shown these sets has seen: each with its answer, or its reply while it has none."""
    ids = frozenset(ids)
    replies = [of_reply(store, id) for id in sorted(ids) if store.row(_SHOWS_REPLY, id)]
    return Provenance(ids).joined(*replies)


def is_forgotten(store: Store, provenance: Provenance) -> bool:
    """Whether a set was forgotten that a reply was written from, as shown or by an adapter that knew it."""
    return any_forgotten(store, provenance.sets | _known(store, provenance.adapters))


def check_not_forgotten(store: Store, provenance: Provenance) -> None:
    """UsageError where `is_forgotten`."""
    if is_forgotten(store, provenance):
        raise UsageError("a dialogue set that this reply was written from was forgotten meanwhile; ask again")


def record_knowledge(store: Store, version: int, trained: Iterable[int], parent: int | None) -> None:
    """Keep what a new adapter knows, in the transaction that inserts it."""
    seen, parents = of_answers(store, trained), [parent] if parent else []
    direct = {*trained, *_known(store, parents, through_replies=False)}
    known = direct | seen.sets | _known(store, parents) | _known(store, seen.adapters)
    rows = [(version, id, id not in direct) for id in sorted(known)]
    with store.transaction() as db:
        sql = "INSERT INTO adapter_sets (adapter_version, dialogue_set_id, through_reply) VALUES (?, ?, ?)"
        db.executemany(sql, rows)


def known_to(store: Store, version: int) -> set[int]:
    """The dialogue sets an adapter version knows, in any way."""
    return _known(store, [version])


def versions_knowing(store: Store, id: int, through_replies: bool = True) -> set[int]:
    """The adapter versions, dropped ones included, that know a set; without `through_replies`, those trained on it."""
    sql = "SELECT adapter_version FROM adapter_sets WHERE dialogue_set_id = ? AND through_reply <= ?"
    return {row[0] for row in store.rows(sql, id, through_replies)}


def _known(store: Store, versions: Iterable[int], through_replies: bool = True) -> set[int]:
    sql = "SELECT dialogue_set_id FROM adapter_sets WHERE adapter_version = ? AND through_reply <= ?"
    return {row[0] for version in versions for row in store.rows(sql, version, through_replies)}
