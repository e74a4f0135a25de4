"""Adapter versions: GGUF LoRA files that llama.cpp loads, each with the record of how it came to be.

One version at most is promoted for a base model. Earlier good ones are kept (retired) for a rollback; a
rejected one loses its file. A file is written beside and renamed, and its database row follows it, so a
kill leaves at worst a file that no row names.
"""

import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import DamagedDataError, UsageError
from .gguf_file import write_gguf
from .store import Store
from .training.lora import Lora


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

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0


class Adapters:
    """The versions for one base model, in `home`/adapters."""

    def __init__(self, store: Store, base_sha256: str, keep: int = 3):
        self.store, self.base_sha256, self.keep = store, base_sha256, keep
        self.folder = store.home / "adapters"
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def add(self, lora: Lora, settings, dialogue_set_ids: list[int]) -> AdapterVersion:
        """Write a candidate. UsageError when the disk is full; nothing is changed then."""
        with self.store.transaction() as db:
            cursor = db.execute(
                "INSERT INTO adapters (file, base_sha256, created, rank, alpha, targets, settings,"
                " dialogue_set_ids, state) VALUES ('', ?, ?, ?, ?, ?, ?, ?, 'candidate')",
                (self.base_sha256, self.store.clock(), lora.rank, lora.alpha, lora.targets,
                 settings.to_json(), json.dumps(dialogue_set_ids)),
            )
            version = cursor.lastrowid
            name = f"adapter-{version:05d}.gguf"
            self._write(self.folder / name, lora, self._metadata(lora, settings, dialogue_set_ids))
            db.execute("UPDATE adapters SET file = ? WHERE version = ?", (name, version))
        return self.get(version)

    def promote(self, version: int, losses: dict, reason: str) -> None:
        """Serve this version; the one before it stays for a rollback, older ones go."""
        with self.store.transaction() as db:
            self._retire_promoted(db)
            db.execute(
                "UPDATE adapters SET state = 'promoted', losses = ?, reason = ? WHERE version = ?",
                (json.dumps(losses), reason, version),
            )
        for old in self._in_state("retired")[self.keep - 1 :]:
            self._drop(old, "replaced by newer versions")

    def reject(self, version: int, losses: dict, reason: str) -> None:
        with self.store.transaction() as db:
            db.execute("UPDATE adapters SET losses = ? WHERE version = ?", (json.dumps(losses), version))
        self._drop(self.get(version), reason)

    def current(self) -> AdapterVersion | None:
        """The promoted version; None means the base model answers alone."""
        return next(iter(self._in_state("promoted")), None)

    def rollback(self) -> AdapterVersion | None:
        """Drop the promoted version and serve the one before it, or the base when there is none."""
        if self.current() is None:
            raise UsageError("no adapter is in use, so there is nothing to roll back; the base model answers")
        return self.drop_promoted("rolled back")

    def drop_promoted(self, reason: str) -> AdapterVersion | None:
        """Reject the promoted version; returns the one before it, which is promoted now, if there is one."""
        self._drop(self.current(), reason)
        return self._promote_newest_retired()

    def forget(self, dialogue_set_id: int) -> list[int]:
        """Drop every version trained on a set; serve the newest clean one. Returns the dropped versions."""
        tainted = [
            adapter for state in ("promoted", "retired", "candidate") for adapter in self._in_state(state)
            if dialogue_set_id in adapter.dialogue_set_ids
        ]
        for adapter in tainted:
            self._drop(adapter, "a dialogue set it learned from was forgotten")
        if self.current() is None:
            self._promote_newest_retired()
        return [adapter.version for adapter in tainted]

    def drop_unfinished(self) -> None:
        """At start: a candidate is an adapter whose gate was cut short."""
        for adapter in self._in_state("candidate"):
            self._drop(adapter, "its gate was interrupted")

    def all(self) -> list[AdapterVersion]:
        rows = self.store.rows("SELECT * FROM adapters WHERE base_sha256 = ? ORDER BY version DESC", self.base_sha256)
        return [self._parse(row) for row in rows]

    def get(self, version: int) -> AdapterVersion:
        row = self.store.row("SELECT * FROM adapters WHERE version = ?", version)
        if row is None:
            raise UsageError(f"no adapter version {version}; idletune status lists them")
        return self._parse(row)

    def _in_state(self, state: str) -> list[AdapterVersion]:
        return [adapter for adapter in self.all() if adapter.state == state]

    def _promote_newest_retired(self) -> AdapterVersion | None:
        for adapter in self._in_state("retired"):
            if adapter.path.is_file():
                with self.store.transaction() as db:
                    db.execute("UPDATE adapters SET state = 'promoted' WHERE version = ?", (adapter.version,))
                return self.get(adapter.version)
        return None

    def _retire_promoted(self, db) -> None:
        db.execute(
            "UPDATE adapters SET state = 'retired' WHERE state = 'promoted' AND base_sha256 = ?", (self.base_sha256,)
        )

    def _drop(self, adapter: AdapterVersion, reason: str) -> None:
        with self.store.transaction() as db:
            db.execute(
                "UPDATE adapters SET state = 'rejected', reason = ? WHERE version = ?", (reason, adapter.version)
            )
        adapter.path.unlink(missing_ok=True)

    def _write(self, path: Path, lora: Lora, metadata: dict) -> None:
        partial = path.with_suffix(".part")
        try:
            write_gguf(partial, metadata, lora.tensors())
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            need = lora.flat.nbytes // 1_000_000 + 1
            raise UsageError(f"no room for the adapter ({need} MB) in {self.folder}; free some storage") from None

    def _metadata(self, lora: Lora, settings, dialogue_set_ids: list[int]) -> dict:
        return {
            "general.type": "adapter", "general.architecture": lora.shape.architecture,
            "general.name": "IdleTune adapter", "adapter.type": "lora", "adapter.lora.alpha": lora.alpha,
            "idletune.base_sha256": self.base_sha256, "idletune.settings": settings.to_json(),
            "idletune.dialogue_set_ids": json.dumps(dialogue_set_ids),
        }

    def _parse(self, row) -> AdapterVersion:
        try:
            ids, losses = json.loads(row["dialogue_set_ids"]), json.loads(row["losses"])
        except ValueError:
            raise DamagedDataError(f"the record of adapter {row['version']} is damaged; roll back") from None
        return AdapterVersion(
            row["version"], self.folder / row["file"], row["created"], row["rank"], row["alpha"], row["targets"],
            ids, losses, row["state"], row["reason"],
        )


def describe(adapter: AdapterVersion | None) -> dict | None:
    """What status and reports say of a version."""
    if adapter is None:
        return None
    known = asdict(adapter)
    return {**known, "path": str(adapter.path), "bytes": adapter.bytes}
