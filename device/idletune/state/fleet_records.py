"""The tables of fleets: which one the user joined, on which terms, and each update that left for it.

Rows outlive leaving: what was spent of the privacy budget is spent, whichever fleet comes next.
"""

import json
from dataclasses import dataclass

from ..errors import DamagedDataError
from ..small_files import parse_json
from .store import Store


@dataclass(frozen=True)
class Membership:
    """A row of the fleets table: the terms as JSON has them, seconds since 1970."""

    id: int
    terms: dict
    joined: float


def join(store: Store, terms: dict) -> Membership:
    """Record that the user joined a fleet; the one before is left."""
    with store.transaction() as db:
        leave(store)
        values = json.dumps(terms, sort_keys=True), store.clock()
        db.execute("INSERT INTO fleets (terms, joined) VALUES (?, ?)", values)
        found = current(store)
    assert found is not None
    return found


def leave(store: Store) -> bool:
    """Record that the user left; False where no fleet was joined."""
    with store.transaction() as db:
        return db.execute("UPDATE fleets SET left = ? WHERE left IS NULL", (store.clock(),)).rowcount > 0


def current(store: Store) -> Membership | None:
    """The fleet that the user is in. DamagedDataError for a damaged row."""
    row = store.row("SELECT * FROM fleets WHERE left IS NULL ORDER BY id DESC")
    if row is None:
        return None
    try:
        terms = parse_json(row["terms"])
    except ValueError:
        terms = None
    if not isinstance(terms, dict):
        raise DamagedDataError(f"{store.path}: the record of the fleet is damaged; leave the fleet, and join anew")
    return Membership(row["id"], terms, row["joined"])


def count_update(store: Store, fleet: Membership, noise_multiplier: float) -> None:
    """Record an update that is about to leave; a kill in between counts one too many, never one too few."""
    with store.transaction() as db:
        sql = "INSERT INTO fleet_updates (fleet_id, made, noise_multiplier) VALUES (?, ?, ?)"
        db.execute(sql, (fleet.id, store.clock(), noise_multiplier))


def noise_multipliers(store: Store) -> list[float]:
    """Those of all updates that ever left this home, of every fleet, oldest first."""
    return [row[0] for row in store.rows("SELECT noise_multiplier FROM fleet_updates ORDER BY id")]
