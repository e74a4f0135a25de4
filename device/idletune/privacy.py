"""What the user may demand of the state: to forget one thing, and to see everything. (To erase it all: home.py.)"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .errors import UsageError
from .learning.adapters import Adapters
from .model.bundle import sha256
from .state import dialogue_sets, imports, provenance, second_replies
from .state.adapter_records import adopted_hashes, kept_versions
from .state.annotation import open_prompts_of
from .state.contents import LEFT_OUT, LEFT_OUT_TABLES, tables_of
from .state.copies import Copy, copies_of, record_download, record_export, remove_record
from .state.descent import Descent, clear, descent_of, is_known
from .state.event_log import log
from .state.files import ADOPTED, CHECKPOINT
from .state.home import OWN_FILES
from .state.private_settings import kept
from .state.reach import REACHES
from .state.set_records import record_forgotten
from .state.store import Store


@dataclass(frozen=True)
class Forgotten:
    """What went with dialogue sets, or would go; ids in ascending order, versions the newest first."""

    sets: list[int]  # the sets themselves and their descendants
    replies: list[int]  # sets with the user's own answer, of which the reply went
    dropped: list[int]  # adapter versions
    prompts: list[int]  # questions to the user that are open no more
    copies: list[Copy]  # files written before that may still hold it

    def to_dict(self) -> dict:
        """As JSON has it."""
        return {**asdict(self), "copies": [copy.to_dict() for copy in self.copies]}

    def __str__(self) -> str:
        """What to tell the user, several lines where copies are left."""
        parts = [
            f"dialogue set{'s' * (len(self.sets) > 1)} {_listed(self.sets)}" if self.sets else "no dialogue set",
            f"the replies of sets {_listed(self.replies)} (your own answers stay)" if self.replies else "",
            f"adapter {_listed(self.dropped)}" if self.dropped else "",
        ]
        lines = ["; ".join(filter(None, parts))]
        lines += [f"a copy that may still hold it: {copy}" for copy in self.copies]
        return "\n".join(lines)


def preview(store: Store, dialogue_set_id: int, reach: str = "all") -> Forgotten:
    """What `forget` would take. UsageError for an unknown id."""
    return preview_all(store, [dialogue_set_id], reach)


def preview_all(store: Store, ids: Iterable[int], reach: str = "all") -> Forgotten:
    """What `forget_all` would take. UsageError for an unknown id."""
    with store.transaction():
        return _described(store, _found(store, ids, reach))


def forget(store: Store, adapters: Adapters, dialogue_set_id: int, reach: str = "all") -> Forgotten:
    """Remove one dialogue set and what came of it; see `forget_all`."""
    return forget_all(store, adapters, [dialogue_set_id], reach)


def forget_all(store: Store, adapters: Adapters, ids: Iterable[int], reach: str = "all") -> Forgotten:
    """Remove dialogue sets and what came of them (descent.py) as far as `reach` says, from every file.

    Their paraphrases, the checkpoint and every adapter trained on one go always. The newest adapter that never knew
    them serves, and learning anew is owed. A set that left the buffer can still be forgotten while something that came
    of it is kept. UsageError for an unknown id, or when another process keeps the database from being scrubbed now
    (then the next start does).
    """
    ids = sorted(set(ids))
    with store.transaction():  # all of it or nothing; files go when it is on disk, or at the next start
        found = _found(store, ids, reach)
        report = _described(store, found)
        for id in found.replies:
            _remove_reply(store, id)
        dialogue_sets.delete(store, found.sets)
        second_replies.remove_all(store)
        dropped = adapters.drop_all(found.adapters)
        clear(store, found)
        store.count("forgotten")
        record_forgotten(store, found.sets)
        if dropped:
            store.count("retrain_owed")
        log(store, "forget", dialogue_sets=ids, sets=found.sets, replies=found.replies, dropped=dropped)
        store.owe_scrub()
        _remove_adopted(store, found.adapters)
        _remove_checkpoint(store.home)  # a kill before the end costs that training and no more
        store.after_commit(lambda: _remove_checkpoint(store.home))  # a learner may have written it again
    try:
        store.scrub()
    except UsageError as error:
        raise UsageError(f"forgotten ({report}), but words of it may still be in a file: {error}") from None
    return report


def preview_import(store: Store, import_id: int, reach: str = "all") -> Forgotten:
    """What `forget_import` would take."""
    ids = _sets_of_import(store, import_id)
    return preview_all(store, ids, reach) if ids else Forgotten([], [], [], [], [])


def forget_import(store: Store, adapters: Adapters, import_id: int, reach: str = "all") -> Forgotten:
    """Remove all that came of an imported file (see `forget_all`), and that it was imported."""
    ids = _sets_of_import(store, import_id)
    report = forget_all(store, adapters, ids, reach) if ids else Forgotten([], [], [], [], [])
    imports.remove(store, import_id)
    return report


def _sets_of_import(store: Store, import_id: int) -> list[int]:
    """Those that are in the buffer, or something that is kept came of them."""
    return [id for id in imports.sets_of(store, import_id) if is_known(store, id)]


def export_data(store: Store, out: Path) -> int:
    """Write everything that is kept of the user as readable JSON lines, for its owner only. Returns their number.

    The first line says what the others hold. The home remembers that the file was written, and what of (copies.py).
    UsageError when the file exists or cannot be written; half a file is not left behind.
    """
    if os.path.lexists(out):
        raise UsageError(f"cannot write {out} (File exists); name a file that does not exist yet")
    copy = record_export(store, out)
    try:
        return _write_lines(out, _lines(store))
    except BaseException:
        remove_record(store, copy)
        raise


def download_data(store: Store) -> str:
    """The same as text, for a browser to save. The home remembers that it was given away."""
    record_download(store)
    return _text(_lines(store))


def _lines(store: Store) -> list[dict]:
    with store.transaction():  # all of one moment
        settings = {"record": "settings", **kept(store)}
        tables = tables_of(store)
    counts = {"settings": 1, **{table: len(records) for table, records in tables.items()}}
    contents = {"record": "contents", "home": str(store.home), "written": store.clock(), "holds": counts}
    contents["left_out"] = [*LEFT_OUT, *LEFT_OUT_TABLES[:2], "adapter files"]
    return [contents, settings, *(record for records in tables.values() for record in records)]


def _write_lines(out: Path, lines: list[dict]) -> int:
    text = _text(lines)
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


def _text(lines: list[dict]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _found(store: Store, ids: Iterable[int], reach: str) -> Descent:
    ids = list(ids)
    if reach not in REACHES:
        raise UsageError(f"descendants {reach!r}; use one of {', '.join(REACHES)}")
    if not ids:
        raise UsageError("no dialogue set is named; give the numbers of those to forget")
    for id in ids:
        if not is_known(store, id):
            raise UsageError(f"no dialogue set {id}, nor anything that came of it; /sets in chat lists them")
    return descent_of(store, ids, reach)


def _described(store: Store, found: Descent) -> Forgotten:
    dropped = [version for version in kept_versions(store) if version in found.adapters]
    prompts = open_prompts_of(store, found.sets)
    return Forgotten(found.sets, found.replies, dropped, prompts, copies_of(store, [*found.sets, *found.replies]))


def _remove_reply(store: Store, id: int) -> None:
    """Of a set with the user's own answer: the reply goes, and the embedding is the question's alone."""
    row = dialogue_sets.find(store, id)
    if row is None:
        return
    embedding = row.embedding
    if row.question_embedding is not None:
        embedding = np.frombuffer(row.question_embedding, "<f2").astype("<f4").tobytes()
    dialogue_sets.remove_reply(store, id, embedding)
    provenance.remove(store, id)


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids))


def _remove_adopted(store: Store, versions: list[int]) -> None:
    """The file that training starts from, if it is one of these versions."""
    path = store.home / ADOPTED
    digest = sha256(path) if path.is_file() else ""
    if digest in adopted_hashes(store, versions):
        store.after_commit(lambda: path.unlink(missing_ok=True))


def _remove_checkpoint(home: Path) -> None:
    for name in (CHECKPOINT, Path(CHECKPOINT).with_suffix(".part").name):
        assert name in OWN_FILES
        (home / name).unlink(missing_ok=True)
