"""What is recorded of single dialogue sets beside their texts: forgotten, paraphrased, embedding due.

That a set was forgotten outlives it; the other records go with the set.
"""

from collections.abc import Iterable

from .store import Store


def record_forgotten(store: Store, ids: Iterable[int]) -> None:
    """Remember that these sets were forgotten: nothing that is still being made of them may be kept."""
    with store.transaction() as db:
        db.executemany("INSERT OR IGNORE INTO forgotten_sets VALUES (?)", [(id,) for id in ids])


def any_forgotten(store: Store, ids: Iterable[int]) -> bool:
    """Whether one of these sets was ever forgotten."""
    return any(store.row("SELECT 1 FROM forgotten_sets WHERE dialogue_set_id = ?", id) for id in ids)


def record_paraphrased(store: Store, id: int) -> None:
    """Remember that paraphrases of a set were generated, however many passed the filter."""
    with store.transaction() as db:
        db.execute("INSERT OR IGNORE INTO paraphrased_sets SELECT id FROM dialogue_sets WHERE id = ?", (id,))


def is_paraphrased(store: Store, id: int) -> bool:
    """Whether paraphrases of a set were generated."""
    return store.row("SELECT 1 FROM paraphrased_sets WHERE dialogue_set_id = ?", id) is not None


def embeddings_due(store: Store) -> list[int]:
    """Ids of the sets whose embeddings an earlier adapter made, ascending."""
    sql = "SELECT id FROM embeddings_due JOIN dialogue_sets ON id = dialogue_set_id ORDER BY id"
    return [row["id"] for row in store.rows(sql)]


def mark_embeddings_due(store: Store) -> None:
    """All sets of this moment are to be embedded anew."""
    with store.transaction() as db:
        db.execute("INSERT OR IGNORE INTO embeddings_due SELECT id FROM dialogue_sets")


def record_embedded(store: Store, id: int) -> None:
    """The embeddings of a set are those of the adapter in use."""
    with store.transaction() as db:
        db.execute("DELETE FROM embeddings_due WHERE dialogue_set_id = ?", (id,))
