"""Second replies: another reply to a buffered question, so that the user can be asked which of two is better.

- Written in an idle window (learning/second_replies.py), for questions that were not put to the user yet.
- Encrypted like the set, gone with it, and gone as soon as its question is answered in any way.
- What it was written from becomes what the set descends from when the user chooses. Until then whatever is forgotten
  takes all second replies with it; the next window writes them anew.
"""

import json
from typing import NamedTuple

from ..dialogue import Provenance
from ..small_files import parse_json
from .store import Store

TABLE = "second_replies"
_NEXT = """
    SELECT dialogue_set_id FROM prompts JOIN dialogue_sets ON dialogue_sets.id = dialogue_set_id
    WHERE state = 'pending' ORDER BY idd DESC, dialogue_set_id DESC LIMIT ?"""


class SecondReply(NamedTuple):
    """The text, and what it was written from."""

    text: str
    provenance: Provenance


def offers_choice(dialogue_set_id: int, share: float) -> bool:
    """Whether the question about a set is one of the `share` that offer two replies: every so many."""
    return int(dialogue_set_id * share) > int((dialogue_set_id - 1) * share)


def due(store: Store, share: float, most: int) -> list[int]:
    """The sets that are to get a second reply: of the next `most` questions those that offer two and have one."""
    if not share:
        return []
    tried = {row["dialogue_set_id"] for row in store.rows("SELECT dialogue_set_id FROM second_replies")}
    waiting = [row["dialogue_set_id"] for row in store.rows(_NEXT, most)]
    return [id for id in waiting if id not in tried and offers_choice(id, share)]


def record(store: Store, dialogue_set_id: int, text: str, provenance: Provenance) -> None:
    """Keep a second reply, "" where none was found that differs; not where its question was put or answered by now."""
    with store.transaction() as db:
        waits = "SELECT 1 FROM prompts WHERE dialogue_set_id = ? AND state = 'pending'"
        if store.row(waits, dialogue_set_id) is None:
            return
        id = store.next_id(TABLE)
        value = store.encrypt(TABLE, id, reply=text)["reply"]
        sources = json.dumps({"sets": sorted(provenance.sets), "adapters": sorted(provenance.adapters)})
        sql = "INSERT INTO second_replies (id, dialogue_set_id, at, written_from, reply) VALUES (?, ?, ?, ?, ?)"
        db.execute(sql, (id, dialogue_set_id, store.clock(), sources, value))


def find(store: Store, dialogue_set_id: int) -> SecondReply | None:
    """The second reply of a set, if one is kept and what it was written from can be read."""
    row = store.row("SELECT id, reply, written_from FROM second_replies WHERE dialogue_set_id = ?", dialogue_set_id)
    if row is None or not (text := store.decrypt(TABLE, row["id"], row)["reply"]):
        return None
    try:
        sources = parse_json(row["written_from"])
        sets, adapters = (frozenset(map(int, sources[name])) for name in ("sets", "adapters"))
    except (ValueError, TypeError, KeyError):  # damaged: forgetting would not find it
        return None
    return SecondReply(text, Provenance(sets, adapters))


def remove(store: Store, dialogue_set_id: int) -> None:
    """Its question is answered."""
    with store.transaction() as db:
        db.execute("DELETE FROM second_replies WHERE dialogue_set_id = ?", (dialogue_set_id,))


def remove_all(store: Store) -> None:
    """Something was forgotten that one may have been written from."""
    with store.transaction() as db:
        db.execute("DELETE FROM second_replies")
