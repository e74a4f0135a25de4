"""What the user may demand of the state: to forget one thing, and to see everything. (To erase it all: home.py.)"""

import json
import os
from pathlib import Path

from ..errors import UsageError
from ..learning.adapters import KEPT_STATES, Adapters
from ..settings import load_settings
from .files import CHECKPOINT
from .home import OWN_FILES
from .store import Store

# Derived by the machine and of no use to a reader, or of no meaning outside of this home.
LEFT_OUT = ("embedding", "question_embedding", "question_hash")
JSON_COLUMNS = ("settings", "dialogue_set_ids", "losses", "detail")  # never the user's own words
TABLES = ("dialogue_sets", "synthetic_sets", "prompts", "adapters", "events", "counters")


def forget(store: Store, adapters: Adapters, dialogue_set_id: int) -> list[int]:
    """Remove a dialogue set and what came of it, paraphrases, checkpoint and adapters, from every file.

    The newest adapter that never saw it serves, and learning anew is owed. Returns the dropped versions.
    A set that left the buffer can still be forgotten while an adapter knows it. UsageError for an unknown id,
    or when another process keeps the database from being scrubbed now (then the next start does).
    """
    with store.transaction() as db:  # all of it or nothing; files go when it is on disk, or at the next start
        if not _is_known(store, dialogue_set_id):
            raise UsageError(
                f"no dialogue set {dialogue_set_id}, nor an adapter that knows it; /sets in chat lists them"
            )
        db.execute("DELETE FROM dialogue_sets WHERE id = ?", (dialogue_set_id,))
        dropped = adapters.forget(dialogue_set_id)
        store.count("forgotten")
        store.count(f"forgotten {dialogue_set_id}")
        if dropped:
            store.count("retrain_owed")
        store.log("forget", dialogue_set=dialogue_set_id, dropped=dropped)
        store.owe_scrub()
        _remove_checkpoint(store.home)  # a kill before the end costs that training and no more
        store.after_commit(lambda: _remove_checkpoint(store.home))  # a learner may have written it again
    try:
        store.scrub()
    except UsageError as error:
        raise UsageError(f"forgotten, but words of it may still be in a file: {error}") from None
    return dropped


def export_data(store: Store, out: Path) -> int:
    """Write everything that is kept of the user as readable JSON lines, for its owner only. Returns their number.

    UsageError when the file exists or cannot be written; half a file is not left behind.
    """
    lines = [{"record": "settings", **load_settings(store.home / "settings.json")}, *_records(store)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write {out} ({error.strerror}); name a file that does not exist yet") from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        out.unlink()
        problem = f"cannot write {out} ({error.strerror}), it takes {len(text.encode()) // 1_000_000 + 1} MB"
        raise UsageError(f"{problem}; free some storage, or name another place") from None
    return len(lines)


def _records(store: Store):
    for table in TABLES:
        for row in store.rows(f"SELECT * FROM {table}"):
            values = store.unseal(table, row["id"], row) if "question" in row.keys() else dict(row)
            plain = {name: _plain(name, value) for name, value in values.items() if name not in LEFT_OUT}
            yield {"record": table, **plain}


def _plain(name: str, value):
    """A column's value; JSON as what it says, but for a loss that is no number (NaN), which JSON cannot say."""
    return json.loads(value, parse_constant=str) if name in JSON_COLUMNS else value


def _is_known(store: Store, id: int) -> bool:
    if store.row("SELECT 1 FROM dialogue_sets WHERE id = ?", id):
        return True
    rows = store.rows(f"SELECT dialogue_set_ids FROM adapters WHERE state IN {KEPT_STATES}")
    return any(id in json.loads(row["dialogue_set_ids"]) for row in rows)


def _remove_checkpoint(home: Path) -> None:
    for name in (CHECKPOINT, Path(CHECKPOINT).with_suffix(".part").name):
        assert name in OWN_FILES
        (home / name).unlink(missing_ok=True)
