"""Answers in the model's own words: replies that the user found good or chose of two; and beside these what lost."""

from .store import Store

TABLE = "choices"


def record(store: Store, dialogue_set_id: int, rejected: str) -> None:
    """Keep the reply that was not chosen, in the transaction that makes the other one the answer."""
    with store.transaction() as db:
        remove(store, dialogue_set_id)
        id = store.next_id(TABLE)
        value = store.encrypt(TABLE, id, rejected=rejected)["rejected"]
        sql = "INSERT INTO choices (id, dialogue_set_id, at, rejected) VALUES (?, ?, ?, ?)"
        db.execute(sql, (id, dialogue_set_id, store.clock(), value))


def remove(store: Store, dialogue_set_id: int) -> None:
    """Another answer, or none, takes the place of the chosen one."""
    with store.transaction() as db:
        db.execute("DELETE FROM choices WHERE dialogue_set_id = ?", (dialogue_set_id,))


def rejected_reply(store: Store, dialogue_set_id: int) -> str | None:
    """The reply beside which a set's answer was chosen; None where it was given."""
    row = store.row("SELECT id, rejected FROM choices WHERE dialogue_set_id = ?", dialogue_set_id)
    return store.decrypt(TABLE, row["id"], row)["rejected"] if row else None


def accepted_sets(store: Store) -> set[int]:
    """Ids of the sets whose answer is a reply of the model, which the user found good or chose of two."""
    sql = "SELECT dialogue_set_id FROM prompts WHERE dialogue_set_id IS NOT NULL AND state = 'accepted'"
    return {row["dialogue_set_id"] for row in store.rows(sql)}
