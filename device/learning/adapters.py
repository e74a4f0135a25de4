"""Adapter versions: GGUF LoRA files that llama.cpp loads, each with the record of how it came to be.

One version at most is promoted for a base model. Earlier good ones are kept (retired) for a rollback; a
rejected one loses its file. A file is whole before a row names it, and goes after its row is marked: a kill
leaves at worst a file that no row wants, which the next start removes.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import DamagedDataError, UsageError
from ..model.gguf_file import gguf_bytes
from ..state.files import ADAPTERS, Files
from ..state.store import Store
from ..training.lora import Lora

KEPT_STATES = ("promoted", "retired", "candidate")  # those with a file
FORGOTTEN = "a dialogue set it learned from was forgotten"


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

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0


class Adapters:
    """The versions for one base model, in `home`/adapters."""

    def __init__(self, store: Store, base_sha256: str, keep: int = 3):
        self.store, self.base_sha256, self.keep = store, base_sha256, keep
        self.folder = store.home / ADAPTERS
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.files = Files(store)
        self.sweep()

    def add(self, lora: Lora, settings, dialogue_set_ids: list[int]) -> AdapterVersion:
        """Write a candidate. UsageError when the disk is full, or one of the sets was forgotten meanwhile."""
        content = gguf_bytes(self._metadata(lora, settings, dialogue_set_ids), lora.tensors())
        try:
            with self.store.transaction() as db:
                check_not_forgotten(self.store, dialogue_set_ids)
                version = self.store.next_id("adapters")
                name = f"adapter-{version:05d}.gguf"
                self.files.write(self.folder / name, content)
                db.execute(
                    "INSERT INTO adapters (version, file, base_sha256, created, rank, alpha, targets, settings,"
                    " dialogue_set_ids, file_sha256, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'candidate')",
                    (version, name, self.base_sha256, self.store.clock(), lora.rank, lora.alpha, lora.targets,
                     settings.record_json(), json.dumps(dialogue_set_ids), hashlib.sha256(content).hexdigest()),
                )
        except UsageError:  # no room for the file, or for its row
            self.sweep()
            raise
        return self.get(version)

    @contextmanager
    def readable(self, adapter: AdapterVersion) -> Iterator[Path]:
        """A path to load the adapter's plain file from, within the block. DamagedDataError when it is not whole."""
        if not adapter.path.is_file():
            raise DamagedDataError(f"the file of adapter {adapter.version} is gone; roll back, or train anew")
        with self.files.readable(adapter.path) as path:
            if adapter.file_sha256 not in ("", hashlib.sha256(path.read_bytes()).hexdigest()):
                raise DamagedDataError(f"the file of adapter {adapter.version} was changed; roll back, or train anew")
            yield path

    def promote(self, version: int, losses: dict, reason: str) -> None:
        """Serve this version; the one before it stays for a rollback, older ones go."""
        with self.store.transaction() as db:
            check_not_forgotten(self.store, self.get(version).dialogue_set_ids)
            db.execute(
                "UPDATE adapters SET state = 'retired' WHERE state = 'promoted' AND base_sha256 = ?",
                (self.base_sha256,),
            )
            db.execute(
                "UPDATE adapters SET state = 'promoted', losses = ?, reason = ? WHERE version = ?",
                (json.dumps(losses), reason, version),
            )
            for old in self.in_state("retired")[self.keep - 1 :]:
                self._drop(old, "replaced by newer versions")

    def reject(self, version: int, losses: dict, reason: str) -> None:
        with self.store.transaction() as db:
            db.execute("UPDATE adapters SET losses = ? WHERE version = ?", (json.dumps(losses), version))
            self._drop(self.get(version), reason)

    def current(self) -> AdapterVersion | None:
        """The promoted version; None means the base model answers alone."""
        return next(iter(self.in_state("promoted")), None)

    def rollback(self, reason: str = "rolled back") -> AdapterVersion | None:
        """Drop the promoted version and serve the one before it, or the base when there is none."""
        if self.current() is None:
            raise UsageError("no adapter is in use, so there is nothing to roll back; the base model answers")
        return self.drop_promoted(reason)

    def drop_promoted(self, reason: str) -> AdapterVersion | None:
        """Reject the promoted version; returns the one before it, which is promoted now, if there is one."""
        with self.store.transaction():
            self._drop(self.current(), reason)
            return self._promote_newest_retired(self.base_sha256)

    def forget(self, dialogue_set_id: int) -> list[int]:
        """Drop every version trained on a set, of any base model; serve the newest clean one.

        The other sets the dropped versions knew count as not learned yet. Returns the dropped versions.
        """
        with self.store.transaction() as db:
            kept = [adapter for adapter in self._parsed("SELECT * FROM adapters") if adapter.state in KEPT_STATES]
            tainted = sorted((a for a in kept if dialogue_set_id in a.dialogue_set_ids), key=lambda a: -a.version)
            for adapter in tainted:
                self._drop(adapter, FORGOTTEN)
                db.execute("UPDATE dialogue_sets SET learned_in = NULL WHERE learned_in = ?", (adapter.version,))
            for base in {adapter.base_sha256 for adapter in tainted if adapter.state == "promoted"}:
                if clean := self._promote_newest_retired(base):
                    known = [(clean.version, id) for id in clean.dialogue_set_ids]
                    db.executemany("UPDATE dialogue_sets SET learned_in = ? WHERE id = ? AND learned_in IS NULL", known)
        return [adapter.version for adapter in tainted]

    def drop_unfinished(self) -> None:
        """A candidate without a learner is an adapter whose gate was cut short."""
        with self.store.transaction():
            for adapter in self.in_state("candidate"):
                self._drop(adapter, "its gate was interrupted")

    def sweep(self) -> None:
        """Remove the files that no row wants: what a kill left of a version being written or dropped."""
        with self.store.transaction():  # who writes an adapter holds the database until its row names it
            wanted = f"SELECT file FROM adapters WHERE state IN {KEPT_STATES}"
            names = {row["file"] for row in self.store.rows(wanted)}
            for path in self.folder.iterdir():
                if path.name not in names and path.is_file():
                    path.unlink(missing_ok=True)

    def all(self) -> list[AdapterVersion]:
        return self._parsed("SELECT * FROM adapters WHERE base_sha256 = ? ORDER BY version DESC", self.base_sha256)

    def get(self, version: int) -> AdapterVersion:
        found = self._parsed("SELECT * FROM adapters WHERE version = ?", version)
        if not found:
            raise UsageError(f"no adapter version {version}; idletune status lists them")
        return found[0]

    def in_state(self, state: str) -> list[AdapterVersion]:
        """The versions in a state, newest first."""
        return [adapter for adapter in self.all() if adapter.state == state]

    def _promote_newest_retired(self, base_sha256: str) -> AdapterVersion | None:
        retired = "SELECT * FROM adapters WHERE state = 'retired' AND base_sha256 = ? ORDER BY version DESC"
        for adapter in self._parsed(retired, base_sha256):
            if adapter.path.is_file():
                with self.store.transaction() as db:
                    db.execute("UPDATE adapters SET state = 'promoted' WHERE version = ?", (adapter.version,))
                return self.get(adapter.version)
        return None

    def _drop(self, adapter: AdapterVersion, reason: str) -> None:
        with self.store.transaction() as db:
            db.execute(
                "UPDATE adapters SET state = 'rejected', reason = ? WHERE version = ?", (reason, adapter.version)
            )
            self.store.after_commit(lambda: adapter.path.unlink(missing_ok=True))

    def _metadata(self, lora: Lora, settings, dialogue_set_ids: list[int]) -> dict:
        return {
            "general.type": "adapter", "general.architecture": lora.shape.architecture,
            "general.name": "IdleTune adapter", "adapter.type": "lora", "adapter.lora.alpha": lora.alpha,
            "idletune.base_sha256": self.base_sha256, "idletune.settings": settings.record_json(),
            "idletune.dialogue_set_ids": json.dumps(dialogue_set_ids),
        }

    def _parsed(self, sql: str, *values) -> list[AdapterVersion]:
        return [self._parse(row) for row in self.store.rows(sql, *values)]

    def _parse(self, row) -> AdapterVersion:
        try:
            ids, losses = json.loads(row["dialogue_set_ids"]), json.loads(row["losses"])
        except ValueError:
            raise DamagedDataError(f"the record of adapter {row['version']} is damaged; roll back") from None
        return AdapterVersion(
            row["version"], self.folder / row["file"], row["created"], row["rank"], row["alpha"], row["targets"],
            ids, losses, row["state"], row["reason"], row["base_sha256"], row["file_sha256"],
        )


def check_not_forgotten(store: Store, dialogue_set_ids: list[int]) -> None:
    """UsageError when one of the sets was forgotten while an adapter learned from it."""
    if any(store.counter(f"forgotten {id}") for id in dialogue_set_ids):
        raise UsageError("a dialogue set was forgotten while it was being learned from; learn again without it")


def describe(adapter: AdapterVersion | None) -> dict | None:
    """What status and reports say of a version."""
    if adapter is None:
        return None
    known = asdict(adapter)
    return {**known, "path": str(adapter.path), "bytes": adapter.bytes}
