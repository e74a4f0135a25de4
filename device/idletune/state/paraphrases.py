"""The table of paraphrases (named synthetic_sets): what was generated of an answered set, to be trained on with it."""

from .store import Store

TABLE = "synthetic_sets"


def paraphrases(store: Store, id: int) -> list[tuple[str, str]]:
    """The kept paraphrases of a dialogue set, as (question, response)."""
    rows = store.rows("SELECT id, question, response FROM synthetic_sets WHERE dialogue_set_id = ?", id)
    opened = [store.decrypt(TABLE, row["id"], row) for row in rows]
    return [(row["question"], row["response"]) for row in opened]


def keep_paraphrase(store: Store, dialogue_set_id: int, question: str, response: str, rouge1: float) -> None:
    """Keep one; `rouge1` is how near its question is to the original's."""
    with store.transaction() as db:
        id = store.next_id(TABLE)
        values = store.encrypt(TABLE, id, question=question, response=response)
        db.execute(
            "INSERT INTO synthetic_sets (id, dialogue_set_id, rouge1, question, response) VALUES (?, ?, ?, ?, ?)",
            (id, dialogue_set_id, rouge1, values["question"], values["response"]),
        )
