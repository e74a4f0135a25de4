"""The table of answers' losses, in nats per token, as adapter monitoring measured them in llama.cpp.

A key names the example, the base model and the adapter, so that each is measured once.
"""

from .store import Store


def kept_loss(store: Store, dialogue_set_id: int, key: str) -> float | None:
    """The loss of a set's answer under a key; None where it was not measured."""
    row = store.row("SELECT loss FROM answer_losses WHERE dialogue_set_id = ? AND key = ?", dialogue_set_id, key)
    return row["loss"] if row else None


def keep_loss(store: Store, dialogue_set_id: int, key: str, loss: float) -> None:
    """Keep a measurement, unless its set was forgotten meanwhile."""
    with store.transaction() as db:
        sql = "INSERT OR REPLACE INTO answer_losses SELECT id, ?, ? FROM dialogue_sets WHERE id = ?"
        db.execute(sql, (key, loss, dialogue_set_id))
