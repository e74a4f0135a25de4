"""Adapter versions: GGUF LoRA files that llama.cpp loads, each with the record of how it came to be.

One version at most is promoted for a base model. Earlier good ones are kept (retired) for a rollback; a
rejected one loses its file. A file is whole before a row names it, and goes after its row is marked: a kill
leaves at worst a file that no row wants, which the next start removes.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from ..errors import DamagedDataError, UsageError
from ..formats.gguf_writer import gguf_bytes
from ..state import adapter_records, dialogue_sets, provenance
from ..state.adapter_records import AdapterVersion
from ..state.files import ADAPTERS, Files
from ..state.home import own_files, own_folder, remove_file
from ..state.set_records import any_forgotten
from ..state.store import Store
from ..state.verdicts import record_dropped
from ..training.lora import Lora

REPLACED = "replaced by newer versions"
FORGOTTEN = "a dialogue set it learned from was forgotten"


class Adapters:
    """The versions for one base model, in `home`/adapters."""

    def __init__(self, store: Store, base_sha256: str, keep: int = 3):
        self.store, self.base_sha256, self.keep = store, base_sha256, keep
        self.folder = own_folder(store.home, ADAPTERS)
        self.files = Files(store)
        self.sweep()

    def add(
        self,
        lora: Lora,
        settings,
        dialogue_set_ids: list[int],
        parent: int | None = None,
        adopted_sha256: str = "",
        origins: Iterable[dict] = (),
        knows: Iterable[int] = (),
    ) -> AdapterVersion:
        """Write a candidate that was trained on these sets, from version `parent` on, or adopted from a file.

        It knows what its parent knows, and `knows` of this home's sets beside. UsageError when the disk is full, or a
        set it knows was forgotten meanwhile.
        """
        content = gguf_bytes(self._metadata(lora, settings, dialogue_set_ids), lora.tensors())
        try:
            with self.store.transaction():
                version = adapter_records.next_version(self.store)
                self.files.write(adapter_records.path_of(self.store.home, version), content)
                adapter_records.insert(
                    self.store,
                    version,
                    base_sha256=self.base_sha256,
                    rank=lora.rank,
                    alpha=lora.alpha,
                    targets=lora.targets,
                    settings=settings.record_json(),
                    dialogue_set_ids=dialogue_set_ids,
                    file_sha256=hashlib.sha256(content).hexdigest(),
                    parent_version=parent,
                    adopted_sha256=adopted_sha256,
                    origins=origins,
                )
                provenance.record_knowledge(self.store, version, [*dialogue_set_ids, *knows], parent)
                check_not_forgotten(self.store, provenance.known_to(self.store, version))
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

    def promote(self, version: int, losses: dict, reason: str, adopted: bool = False) -> None:
        """Serve this version; the one before it stays for a rollback, older ones go, but for what training starts from.

        `adopted`: training starts from this one now.
        """
        with self.store.transaction():
            check_not_forgotten(self.store, provenance.known_to(self.store, version))
            adapter_records.retire_promoted(self.store, self.base_sha256)
            adapter_records.promote(self.store, version, losses, reason, adopted)
            start = self.adopted()
            for old in self.in_state("retired")[self.keep - 1 :]:
                if start is None or old.version != start.version:
                    self._drop(old, REPLACED)
            self._drop_held_back(REPLACED)

    def hold_back(self, version: int, losses: dict, reason: str) -> None:
        """Keep a candidate, not served, until a person promotes it or a newer one takes its place."""
        with self.store.transaction():
            self._drop_held_back(REPLACED)
            adapter_records.hold_back(self.store, version, losses, reason)

    def held_back(self) -> AdapterVersion | None:
        """The candidate that waits for a person's look."""
        return next((adapter for adapter in self.in_state("candidate") if adapter.held_back), None)

    def adopted(self) -> AdapterVersion | None:
        """The newest adapter that was made elsewhere and is kept: training starts from it."""
        return next((a for a in self.all() if a.adopted and a.state in ("promoted", "retired")), None)

    def newest_adopted(self) -> int | None:
        """The number of the newest adopted version, dropped ones included."""
        return next((a.version for a in self.all() if a.adopted), None)

    def adopted_was_replaced(self) -> bool:
        """Whether the newest adopted version was dropped for newer ones alone, as earlier versions did."""
        newest = next((a for a in self.all() if a.adopted), None)
        return newest is not None and newest.state == "rejected" and newest.reason == REPLACED

    def reject(self, version: int, losses: dict, reason: str) -> None:
        with self.store.transaction():
            adapter_records.note_losses(self.store, version, losses)
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
            gone = self.current()
            if gone is None:
                return None
            self._drop(gone, reason)
            record_dropped(self.store, gone.version, reason)
            return self._promote_newest_retired(self.base_sha256)

    def drop_all(self, versions: Iterable[int], reason: str = FORGOTTEN) -> list[int]:
        """Drop those of these versions that have a file, of any base model; serve the newest of the others.

        The sets that the dropped versions knew count as not learned yet. Returns the dropped versions.
        """
        with self.store.transaction():
            tainted = [a for a in adapter_records.kept(self.store) if a.version in set(versions)]
            for adapter in tainted:
                self._drop(adapter, reason)
                dialogue_sets.mark_unlearned(self.store, adapter.version)
            for base in {adapter.base_sha256 for adapter in tainted if adapter.state == "promoted"}:
                if clean := self._promote_newest_retired(base):
                    dialogue_sets.mark_known(self.store, clean.dialogue_set_ids, clean.version)
        return [adapter.version for adapter in tainted]

    def drop_unfinished(self) -> None:
        """A candidate without a learner is an adapter whose gate was cut short."""
        with self.store.transaction():
            for adapter in self.in_state("candidate"):
                if not adapter.held_back:
                    self._drop(adapter, "its gate was interrupted")

    def sweep(self) -> None:
        """Remove the files that no row wants: what a kill left of a version being written or dropped."""
        with self.store.transaction():  # who writes an adapter holds the database until its row names it
            wanted = adapter_records.kept_versions(self.store)
            paths = {adapter_records.path_of(self.store.home, version) for version in wanted}
            for path in own_files(self.folder):
                if path not in paths:
                    path.unlink(missing_ok=True)

    def all(self) -> list[AdapterVersion]:
        return adapter_records.of_base(self.store, self.base_sha256)

    def get(self, version: int) -> AdapterVersion:
        found = adapter_records.find(self.store, version)
        if found is None:
            raise UsageError(f"no adapter version {version}; idletune status lists them")
        return found

    def own_version(self, sha256: str) -> int | None:
        """The version that a file with this hash holds, dropped ones included: its own, an adopted one, or a copy."""
        return adapter_records.version_of_content(self.store, sha256)

    def in_state(self, state: str) -> list[AdapterVersion]:
        """The versions in a state, newest first."""
        return [adapter for adapter in self.all() if adapter.state == state]

    def _promote_newest_retired(self, base_sha256: str) -> AdapterVersion | None:
        for adapter in adapter_records.of_base(self.store, base_sha256):
            if adapter.state == "retired" and adapter.path.is_file():
                adapter_records.promote_again(self.store, adapter.version)
                return self.get(adapter.version)
        return None

    def _drop_held_back(self, reason: str) -> None:
        if (waiting := self.held_back()) is not None:
            self._drop(waiting, reason)

    def _drop(self, adapter: AdapterVersion, reason: str) -> None:
        with self.store.transaction():
            adapter_records.reject(self.store, adapter.version, reason)
            self.store.after_commit(lambda: remove_file(adapter.path))

    def _metadata(self, lora: Lora, settings, dialogue_set_ids: list[int]) -> dict:
        return {
            "general.type": "adapter",
            "general.architecture": lora.shape.architecture,
            "general.name": "IdleTune adapter",
            "adapter.type": "lora",
            "adapter.lora.alpha": lora.alpha,
            "idletune.base_sha256": self.base_sha256,
            "idletune.settings": settings.record_json(),
            "idletune.dialogue_set_ids": json.dumps(dialogue_set_ids),
        }


def check_not_forgotten(store: Store, dialogue_set_ids: Iterable[int]) -> None:
    """UsageError when one of the sets was forgotten while an adapter learned from it."""
    if any_forgotten(store, dialogue_set_ids):
        raise UsageError("a dialogue set was forgotten while it was being learned from; learn again without it")


def describe(adapter: AdapterVersion | None) -> dict | None:
    """What status and reports say of a version."""
    if adapter is None:
        return None
    known = asdict(adapter)
    return {**known, "path": str(adapter.path), "bytes": adapter.bytes}
