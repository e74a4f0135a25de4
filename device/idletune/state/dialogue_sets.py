"""The table of dialogue sets, which is the buffer on disk. With a key, texts and embeddings are encrypted here."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from .store import Store

TABLE = "dialogue_sets"
# An answer that came with an import, or that is a reply of the model, cost the user no words: it may be evicted before
# it is learned from. The latter train nothing as it comes (choice_weight), and would fill the buffer for good.
_STATES = """
    SELECT id, answered_at IS NOT NULL AS answered, (
        answered_at IS NOT NULL AND learned_in IS NULL
        AND NOT EXISTS (SELECT 1 FROM imported_sets WHERE dialogue_set_id = dialogue_sets.id AND answered)
        AND NOT EXISTS (SELECT 1 FROM prompts WHERE dialogue_set_id = dialogue_sets.id AND state = 'accepted')
    ) OR EXISTS (
        SELECT 1 FROM prompts WHERE dialogue_set_id = dialogue_sets.id AND state = 'shown'
    ) AS protected FROM dialogue_sets ORDER BY id"""


@dataclass(frozen=True)
class DialogueSetRow:
    """One row, decrypted. Embeddings are little-endian: the exchange's in float32, the question's in float16."""

    id: int  # of a new row, the table gives it
    created: float  # seconds since 1970, as all times
    domain: str
    eoe: float
    dss: float
    idd: float  # at arrival; it ages
    answered_at: float | None
    learned_in: int | None  # adapter version
    held_out: bool
    adapter_version: int | None  # wrote the reply; None: the base, or not known
    embedding: bytes
    question_embedding: bytes | None  # None in rows of earlier versions, until they are embedded anew
    question: str
    reply: str
    response: str | None
    origin: str
    answer_origin: str


class AnswerRow(NamedTuple):
    """The texts of an answered set."""

    id: int
    question: str
    response: str


_COLUMNS = [field.name for field in fields(DialogueSetRow)]
_INSERT = f"INSERT INTO dialogue_sets ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"


def insert(store: Store, row: DialogueSetRow) -> int:
    """Keep a new set under the next id, which is returned."""
    with store.transaction() as db:
        id = store.next_id(TABLE)
        values = {name: value for name, value in vars(row).items() if name != "id"}
        db.execute(_INSERT, {"id": id, **store.encrypt(TABLE, id, **values)})
        return id


def all_sets(store: Store) -> list[DialogueSetRow]:
    """All sets, oldest first."""
    return [_parse(store, row) for row in store.rows("SELECT * FROM dialogue_sets ORDER BY id")]


def find(store: Store, id: int) -> DialogueSetRow | None:
    """One set; None for an id that is not in the table."""
    row = store.row("SELECT * FROM dialogue_sets WHERE id = ?", id)
    return _parse(store, row) if row else None


def exists(store: Store, id: int) -> bool:
    """Whether a set is in the table."""
    return store.row("SELECT 1 FROM dialogue_sets WHERE id = ?", id) is not None


def delete(store: Store, ids: Iterable[int]) -> None:
    """Remove sets, with their open prompts, paraphrases and records; unknown ids are passed over."""
    _for_each(store, "DELETE FROM dialogue_sets WHERE id = ?", ((id,) for id in ids))


def states(store: Store) -> dict[int, tuple[bool, bool]]:
    """By id, ascending: whether a set is answered, and whether it may not be evicted."""
    return {id: (bool(answered), bool(protected)) for id, answered, protected in store.rows(_STATES)}


def count(store: Store) -> int:
    """How many sets are kept."""
    return store.rows("SELECT count(*) FROM dialogue_sets")[0][0]


def count_answered(store: Store) -> int:
    """How many sets the user has answered."""
    return store.rows("SELECT count(*) FROM dialogue_sets WHERE answered_at IS NOT NULL")[0][0]


def answer_times(store: Store) -> dict[int, float | None]:
    """When each set was answered, by id, ascending; None for one that was not."""
    rows = store.rows("SELECT id, answered_at FROM dialogue_sets ORDER BY id")
    return {row["id"]: row["answered_at"] for row in rows}


def versions_learned(store: Store) -> dict[int, int | None]:
    """By the ids of the answered sets, ascending: the adapter version that was made of each, if there is one."""
    sql = "SELECT id, learned_in FROM dialogue_sets WHERE response IS NOT NULL ORDER BY id"
    return {row["id"]: row["learned_in"] for row in store.rows(sql)}


def answers(store: Store) -> list[AnswerRow]:
    """The answered sets' texts, oldest first."""
    sql = "SELECT id, question, response FROM dialogue_sets WHERE response IS NOT NULL ORDER BY id"
    return [AnswerRow(**store.decrypt(TABLE, row["id"], row)) for row in store.rows(sql)]


def replace_embeddings(store: Store, id: int, embedding: bytes, question_embedding: bytes, eoe: float) -> None:
    """Those of the model as it is now."""
    values = store.encrypt(TABLE, id, embedding=embedding, question_embedding=question_embedding, eoe=eoe)
    _update(store, id, values)


def remove_reply(store: Store, id: int, embedding: bytes) -> None:
    """The reply goes, and so does who wrote it; `embedding` takes the place of the exchange's."""
    _update(store, id, {**store.encrypt(TABLE, id, reply="", embedding=embedding), "adapter_version": None})


def hold_out(store: Store, ids: Iterable[int], held_out: bool) -> None:
    """Keep sets out of training, or give them back."""
    _for_each(store, "UPDATE dialogue_sets SET held_out = ? WHERE id = ?", ((held_out, id) for id in ids))


def mark_learned(store: Store, ids: Iterable[int], version: int) -> None:
    """These sets are learned in an adapter version."""
    _for_each(store, "UPDATE dialogue_sets SET learned_in = ? WHERE id = ?", ((version, id) for id in ids))


def mark_unlearned(store: Store, version: int) -> None:
    """The sets learned in a version that was dropped are not learned any more."""
    _for_each(store, "UPDATE dialogue_sets SET learned_in = NULL WHERE learned_in = ?", [(version,)])


def mark_known(store: Store, ids: Iterable[int], version: int) -> None:
    """Of these sets, those not learned in any version are learned in this one, which serves again."""
    sql = "UPDATE dialogue_sets SET learned_in = ? WHERE id = ? AND learned_in IS NULL"
    _for_each(store, sql, ((version, id) for id in ids))


def _update(store: Store, id: int, values: dict[str, Any]) -> None:
    with store.transaction() as db:
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        db.execute(f"UPDATE dialogue_sets SET {assignments} WHERE id = :id", {**values, "id": id})


def _for_each(store: Store, sql: str, values: Iterable[tuple]) -> None:
    with store.transaction() as db:
        db.executemany(sql, list(values))


def _parse(store: Store, row) -> DialogueSetRow:
    plain = store.decrypt(TABLE, row["id"], row)
    return DialogueSetRow(**{name: plain[name] for name in _COLUMNS})
