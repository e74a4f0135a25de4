"""The tables of what was decided about adapters: the gate's verdicts, and the versions that were dropped in use."""

from dataclasses import dataclass

from .store import Store

KEPT = 1000  # of each


@dataclass(frozen=True)
class VerdictRow:
    """One verdict of the gate."""

    id: int
    at: float
    version: int
    promoted: bool
    suspicious: bool
    reason: str


@dataclass(frozen=True)
class DroppedRow:
    """A version that was in use and is not any more: rolled back, or found to be broken."""

    at: float
    version: int
    reason: str


def record_verdict(store: Store, version: int, promoted: bool, suspicious: bool, reason: str) -> None:
    """Keep a verdict, in the transaction that carries it out."""
    with store.transaction() as db:
        values = store.clock(), version, promoted, suspicious, reason
        sql = "INSERT INTO verdicts (at, version, promoted, suspicious, reason) VALUES (?, ?, ?, ?, ?)"
        last = db.execute(sql, values).lastrowid or 0
        db.execute("DELETE FROM verdicts WHERE id <= ?", (last - KEPT,))


def newest_verdict(store: Store) -> VerdictRow | None:
    """The gate's last verdict."""
    row = store.row("SELECT * FROM verdicts ORDER BY id DESC LIMIT 1")
    if row is None:
        return None
    promoted, suspicious = bool(row["promoted"]), bool(row["suspicious"])
    return VerdictRow(row["id"], row["at"], row["version"], promoted, suspicious, row["reason"])


def record_dropped(store: Store, version: int, reason: str) -> None:
    """Keep that a version in use was dropped, in the transaction that drops it."""
    with store.transaction() as db:
        judged = "(SELECT coalesce(max(id), 0) FROM verdicts)"
        sql = f"INSERT INTO dropped_adapters (at, version, reason, verdict_id) VALUES (?, ?, ?, {judged})"
        last = db.execute(sql, (store.clock(), version, reason)).lastrowid or 0
        db.execute("DELETE FROM dropped_adapters WHERE id <= ?", (last - KEPT,))


def dropped_since_verdict(store: Store) -> DroppedRow | None:
    """The version that was dropped last; None where the gate has judged a later one since."""
    row = store.row(
        """SELECT at, version, reason FROM dropped_adapters
        WHERE verdict_id = (SELECT coalesce(max(id), 0) FROM verdicts) ORDER BY id DESC LIMIT 1"""
    )
    return DroppedRow(**row) if row else None
