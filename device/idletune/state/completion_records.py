"""Which dialogue set a completion's exchange is kept as. The record goes with the set."""

from .store import Store


def record(store: Store, completion: str, dialogue_set_id: int) -> None:
    """Remember under which id a reply was given to the client."""
    with store.transaction() as db:
        db.execute("INSERT OR REPLACE INTO completions VALUES (?, ?)", (completion, dialogue_set_id))


def set_of(store: Store, completion: str) -> int | None:
    """The dialogue set of a completion; None where none is kept."""
    row = store.row("SELECT dialogue_set_id FROM completions WHERE id = ?", completion)
    return row["dialogue_set_id"] if row else None
