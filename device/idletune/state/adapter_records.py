"""The table of adapters: the record of each version, and what state it is in."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DamagedDataError
from ..small_files import parse_json, whole_text
from .files import ADAPTERS
from .store import Store

KEPT_STATES = ("promoted", "retired", "candidate")  # those with a file


@dataclass(frozen=True)
class AdapterVersion:
    """A row of the adapters table."""

    version: int
    path: Path
    created: float
    rank: int
    alpha: float
    targets: str
    dialogue_set_ids: list[int]
    losses: dict
    state: str
    reason: str
    base_sha256: str
    file_sha256: str  # of the plain file; empty in records of older versions
    parent_version: int | None  # training started from it
    origins: list[dict]  # of the distinct sets it was trained on: asked, answered, sets, share (state/origins.py)
    adopted: bool  # made elsewhere; training starts from the newest one that is kept
    held_back: bool  # a candidate that waits for a person's look

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0


def path_of(home: Path, version: int) -> Path:
    """The file of a version. It follows from the number: a name in the database is never taken for a path."""
    return home / ADAPTERS / f"adapter-{version:05d}.gguf"


def next_version(store: Store) -> int:
    """The number that the next version gets; certain within a transaction only."""
    return store.next_id("adapters")


def insert(
    store: Store,
    version: int,
    *,
    base_sha256: str,
    rank: int,
    alpha: float,
    targets: str,
    settings: str,
    dialogue_set_ids: list[int],
    file_sha256: str,
    parent_version: int | None,
    adopted_sha256: str,
    origins: Iterable[dict],
) -> None:
    """Record a candidate. `settings` is JSON; `adopted_sha256` the hash of the file it was made from, or empty."""
    values = {
        "version": version,
        "file": path_of(store.home, version).name,
        "base_sha256": base_sha256,
        "created": store.clock(),
        "rank": rank,
        "alpha": alpha,
        "targets": targets,
        "settings": settings,
        "dialogue_set_ids": json.dumps(dialogue_set_ids),
        "file_sha256": file_sha256,
        "parent_version": parent_version,
        "adopted_sha256": adopted_sha256,
        "origins": json.dumps(list(origins)),
        "state": "candidate",
    }
    with store.transaction() as db:
        names = ", ".join(values)
        db.execute(f"INSERT INTO adapters ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))


def find(store: Store, version: int) -> AdapterVersion | None:
    """One version; None for a number that was never given."""
    row = store.row("SELECT * FROM adapters WHERE version = ?", version)
    return _parse(store, row) if row else None


def of_base(store: Store, base_sha256: str) -> list[AdapterVersion]:
    """All versions for a base model, the newest first."""
    sql = "SELECT * FROM adapters WHERE base_sha256 = ? ORDER BY version DESC"
    return [_parse(store, row) for row in store.rows(sql, base_sha256)]


def kept(store: Store) -> list[AdapterVersion]:
    """The versions with a file, of any base model, the newest first."""
    sql = f"SELECT * FROM adapters WHERE state IN {KEPT_STATES} ORDER BY version DESC"
    return [_parse(store, row) for row in store.rows(sql)]


def kept_versions(store: Store) -> list[int]:
    """Their numbers, the newest first; no record is read."""
    return [row[0] for row in store.rows(f"SELECT version FROM adapters WHERE state IN {KEPT_STATES} ORDER BY 1 DESC")]


def version_of_content(store: Store, sha256: str) -> int | None:
    """The newest version that a file with this hash holds: its own file, the adopted one, or a copy (copies.py)."""
    of_adapters = "SELECT version FROM adapters WHERE ? IN (file_sha256, adopted_sha256)"
    of_copies = "SELECT adapter_version AS version FROM copies WHERE sha256 = ?"
    row = store.row(f"{of_adapters} UNION {of_copies} ORDER BY version DESC", sha256, sha256)
    return row["version"] if sha256 and row else None


def version_of_file(store: Store, name: str) -> int | None:
    """The version that a file of the home's folder was written for, by its name."""
    row = store.row("SELECT version FROM adapters WHERE file = ?", name)
    return row["version"] if row else None


def adopted_hashes(store: Store, versions: Iterable[int]) -> set[str]:
    """The hashes of the files that these versions were adopted from."""
    rows = [store.row("SELECT adopted_sha256 FROM adapters WHERE version = ?", version) for version in versions]
    return {row["adopted_sha256"] for row in rows if row and row["adopted_sha256"]}


def retire_promoted(store: Store, base_sha256: str) -> None:
    """The version in use for a base model is kept for a rollback."""
    sql = "UPDATE adapters SET state = 'retired' WHERE state = 'promoted' AND base_sha256 = ?"
    _change(store, sql, base_sha256)


def promote(store: Store, version: int, losses: dict, reason: str, adopted: bool) -> None:
    """A candidate is in use; no other one of its base model may be."""
    sql = """UPDATE adapters SET state = 'promoted', losses = ?, reason = ?, adopted = ?, held_back = 0
        WHERE version = ?"""
    _change(store, sql, json.dumps(losses), whole_text(reason), adopted, version)


def promote_again(store: Store, version: int) -> None:
    """A retired version is in use again, on the evidence it has."""
    _change(store, "UPDATE adapters SET state = 'promoted' WHERE version = ?", version)


def hold_back(store: Store, version: int, losses: dict, reason: str) -> None:
    """A candidate waits for a person's look."""
    sql = "UPDATE adapters SET losses = ?, reason = ?, held_back = 1 WHERE version = ?"
    _change(store, sql, json.dumps(losses), whole_text(reason), version)


def note_losses(store: Store, version: int, losses: dict) -> None:
    """The evidence that a version was judged by."""
    _change(store, "UPDATE adapters SET losses = ? WHERE version = ?", json.dumps(losses), version)


def reject(store: Store, version: int, reason: str) -> None:
    """A version is dropped: its record stays, its file has to go."""
    sql = "UPDATE adapters SET state = 'rejected', reason = ?, held_back = 0 WHERE version = ?"
    _change(store, sql, whole_text(reason), version)


def _change(store: Store, sql: str, *values: object) -> None:
    with store.transaction() as db:
        db.execute(sql, values)


def _parse(store: Store, row) -> AdapterVersion:
    try:
        ids, losses, origins = (parse_json(row[name]) for name in ("dialogue_set_ids", "losses", "origins"))
        sound = isinstance(losses, dict) and isinstance(ids, list) and isinstance(origins, list)
        sound = sound and all(type(id) is int for id in ids)
    except ValueError:
        sound = False
    if not sound:  # without it nobody knows what was learned, so what forgetting has to reach
        problem = f"the record of adapter {row['version']} is damaged"
        raise DamagedDataError(f"{store.path}: {problem}; put a backup of the home in its place")
    return AdapterVersion(
        version=row["version"],
        path=path_of(store.home, row["version"]),
        created=row["created"],
        rank=row["rank"],
        alpha=row["alpha"],
        targets=row["targets"],
        dialogue_set_ids=ids,
        losses=losses,
        state=row["state"],
        reason=row["reason"],
        base_sha256=row["base_sha256"],
        file_sha256=row["file_sha256"],
        parent_version=row["parent_version"],
        origins=origins,
        adopted=bool(row["adopted"]),
        held_back=bool(row["held_back"]),
    )
