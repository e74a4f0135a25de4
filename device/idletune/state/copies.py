"""The record of copies: files outside of the home that hold what the home holds, and which dialogue sets they know.

Written before the file is: a kill leaves at worst the record of a file that never came to be. Paths are encrypted as
texts are. What happens to a copy afterwards nobody tells us, so a file that is gone from its path may be elsewhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import dialogue_sets, provenance
from .store import Store

DOWNLOAD, SAVED = "download", "a file that the browser saved"
FLEET = "fleet"  # updates that were sent to a fleet: numbers that came of the sets


@dataclass(frozen=True)
class Copy:
    """A file that was written outside of the home."""

    id: int
    kind: str  # "export" (export-my-data), "answers", "adapter", "download" (one of them, by a browser), or "fleet"
    path: Path
    written: float  # seconds since 1970

    @property
    def there(self) -> bool:
        """Whether a file is still at its path; of what went elsewhere the place is not known."""
        return self.kind not in (DOWNLOAD, FLEET) and self.path.exists()

    def __str__(self) -> str:
        if self.kind in (DOWNLOAD, FLEET):
            return str(self.path)
        return f"{self.path}{'' if self.there else ' (not there any more)'}"

    def to_dict(self) -> dict:
        """As JSON has it."""
        return {"kind": self.kind, "path": str(self.path), "written": self.written, "there": self.there}


def record_export(store: Store, path: Path) -> int:
    """Note an export of all dialogue sets that is about to be written; returns its id."""
    return _record(store, "export", path.absolute(), _all_sets(store))


def record_download(store: Store) -> int:
    """Note an export that a browser is about to save, nobody knows where; returns its id."""
    return _record(store, DOWNLOAD, Path(SAVED), _all_sets(store))


def record_adapter(store: Store, path: Path, version: int, sha256: str) -> int:
    """Note a copy of an adapter version that is about to be written, `sha256` its file's; returns its id."""
    return _record(store, "adapter", path.absolute(), provenance.known_to(store, version), version, sha256)


def record_fleet_update(store: Store, fleet: str, ids: Iterable[int]) -> None:
    """Note the sets that an update for a fleet comes of, and those behind their answers; a fleet has one record."""
    path = Path(f"the shared adapter of the fleet {fleet}")
    with store.transaction() as db:
        held = provenance.of_answers(store, ids).sets
        known = next((copy for copy in copies(store) if (copy.kind, copy.path) == (FLEET, path)), None)
        if known is None:
            _record(store, FLEET, path, set(held))
            return
        pairs = [(known.id, id) for id in sorted(held)]
        db.executemany("INSERT OR IGNORE INTO copy_sets (copy_id, dialogue_set_id) VALUES (?, ?)", pairs)


def sets_sent(store: Store) -> set[int]:
    """The dialogue sets that an update for a fleet came of."""
    rows = store.rows("SELECT dialogue_set_id FROM copy_sets JOIN copies ON copies.id = copy_id WHERE kind = ?", FLEET)
    return {row[0] for row in rows}


def record_adapter_download(store: Store, version: int, sha256: str) -> int:
    """Note an adapter that a browser is about to save."""
    return _record(store, DOWNLOAD, Path(SAVED), provenance.known_to(store, version), version, sha256)


def record_answers(store: Store, path: Path | None) -> int:
    """Note a file of all answers that is about to be written, or with None saved by a browser; returns its id."""
    held = {each.id for each in dialogue_sets.all_sets(store) if each.response is not None}
    if path is None:
        return _record(store, DOWNLOAD, Path(SAVED), held)
    return _record(store, "answers", path.absolute(), held)


def remove_record(store: Store, id: int) -> None:
    """The copy was not written after all."""
    with store.transaction() as db:
        db.execute("DELETE FROM copies WHERE id = ?", (id,))


def copies(store: Store) -> list[Copy]:
    """All recorded copies, oldest first."""
    return [_parse(store, row) for row in store.rows("SELECT * FROM copies ORDER BY id")]


def copies_of(store: Store, dialogue_set_ids: Iterable[int]) -> list[Copy]:
    """The copies that hold one of these sets, oldest first."""
    sql = "SELECT copy_id FROM copy_sets WHERE dialogue_set_id = ?"
    found = {row[0] for id in dialogue_set_ids for row in store.rows(sql, id)}
    return [copy for copy in copies(store) if copy.id in found]


def erase_record(store: Store) -> int:
    """Forget which copies were written, also in the log; the files stay. Returns how many there were."""
    with store.transaction() as db:
        count = db.execute("DELETE FROM copies").rowcount
        store.owe_scrub()
    store.scrub()
    return count


def _all_sets(store: Store) -> set[int]:
    return {row[0] for row in store.rows("SELECT id FROM dialogue_sets")}


def _parse(store: Store, row) -> Copy:
    row = store.decrypt("copies", row["id"], row)
    return Copy(row["id"], row["kind"], Path(row["path"]), row["written"])


def _record(store: Store, kind: str, path: Path, held: set[int], version: int | None = None, sha256: str = "") -> int:
    with store.transaction() as db:
        id = store.next_id("copies")
        encrypted = store.encrypt("copies", id, path=str(path))
        sql = "INSERT INTO copies (id, kind, written, adapter_version, sha256, path) VALUES (?, ?, ?, ?, ?, ?)"
        db.execute(sql, (id, kind, store.clock(), version, sha256, encrypted["path"]))
        pairs = [(id, set_id) for set_id in sorted(held)]
        db.executemany("INSERT INTO copy_sets (copy_id, dialogue_set_id) VALUES (?, ?)", pairs)
        return id
