"""The tables of the scheduler: decisions about the window, slices of learning, and jumps of the wall clock.

Each refers to moments, at which both clocks were read; the moments' ids tell their order, which no clock can.
"""

from dataclasses import dataclass
from typing import Any

from ..clock import Moment
from .integrity import LARGEST_TIME
from .store import Store

MOMENTS_KEPT = 3000  # a day has 1,440 minutes, and a slice two moments
_SLICES = """
    SELECT begun.wall, begun.uptime, begun.boot, ended.wall AS end_wall, ended.uptime AS end_uptime,
        ended.boot AS end_boot, seconds, outcome, stopped_by
    FROM slices JOIN moments AS begun ON begun.id = start_id LEFT JOIN moments AS ended ON ended.id = end_id"""


@dataclass(frozen=True)
class SliceRow:
    """One slice; `end` and what follows are None while it runs, and where it was killed."""

    start: Moment
    end: Moment | None
    seconds: float | None
    outcome: str | None  # for people
    stopped_by: str | None  # the reason, where it was stopped before it was done


def record_decision(store: Store, at: Moment, open: bool, code: str, reason: str) -> None:
    """Keep a decision about the window that differs from the last one."""
    with store.transaction() as db:
        values = _add_moment(store, at), open, code, reason
        db.execute("INSERT INTO window_decisions (moment_id, open, code, reason) VALUES (?, ?, ?, ?)", values)


def record_jump(store: Store, at: Moment, moved_seconds: float) -> None:
    """Keep that the wall clock was found to be set."""
    with store.transaction() as db:
        db.execute("INSERT INTO clock_jumps VALUES (?, ?)", (_add_moment(store, at), moved_seconds))


def begin_slice(store: Store, at: Moment) -> int:
    """Keep that a slice begins; returns its id."""
    with store.transaction() as db:
        id = _add_moment(store, at)
        db.execute("INSERT INTO slices (start_id) VALUES (?)", (id,))
        return id


def end_slice(store: Store, id: int, at: Moment, seconds: float, outcome: str, stopped_by: str | None) -> None:
    """Keep how a slice ended."""
    with store.transaction() as db:
        sql = "UPDATE slices SET end_id = ?, seconds = ?, outcome = ?, stopped_by = ? WHERE start_id = ?"
        db.execute(sql, (_add_moment(store, at), seconds, outcome, stopped_by, id))


def moments(store: Store) -> list[Moment]:
    """All moments that are kept, the newest last."""
    return [_moment(row) for row in store.rows("SELECT wall, uptime, boot FROM moments ORDER BY id")]


def slices(store: Store) -> list[SliceRow]:
    """All slices that are kept, the newest last."""
    return [_slice(row) for row in store.rows(f"{_SLICES} ORDER BY start_id")]


def last_ended_slice(store: Store) -> SliceRow | None:
    """The slice that ended last."""
    row = store.row(f"{_SLICES} WHERE end_id IS NOT NULL ORDER BY end_id DESC LIMIT 1")
    return _slice(row) if row else None


def last_code(store: Store) -> str:
    """The code of the last decision; "" before the first."""
    row = store.row("SELECT code FROM window_decisions ORDER BY moment_id DESC LIMIT 1")
    return row["code"] if row else ""


def last_jump(store: Store) -> Moment | None:
    """When the wall clock was found to be set last."""
    sql = "SELECT wall, uptime, boot FROM clock_jumps JOIN moments ON id = moment_id ORDER BY id DESC LIMIT 1"
    row = store.row(sql)
    return _moment(row) if row else None


def _add_moment(store: Store, at: Moment) -> int:
    """Keep a moment; the oldest go with what refers to them, but for the last decision and the last jump."""
    with store.transaction() as db:
        id = db.execute("INSERT INTO moments (wall, uptime, boot) VALUES (?, ?, ?)", at).lastrowid or 0
        last = "SELECT coalesce(max(moment_id), 0) FROM"
        db.execute(
            f"""DELETE FROM moments WHERE id <= ?
            AND id NOT IN ({last} window_decisions) AND id NOT IN ({last} clock_jumps)""",
            (id - MOMENTS_KEPT,),
        )
        return id


def _slice(row) -> SliceRow:
    end = _moment(row, "end_") if row["end_wall"] is not None else None
    return SliceRow(_moment(row), end, row["seconds"], row["outcome"], row["stopped_by"])


def _moment(row, prefix: str = "") -> Moment:
    """What both clocks showed; a damaged value is brought back to what a date can be made of."""
    wall, uptime, boot = (row[prefix + name] for name in ("wall", "uptime", "boot"))
    return Moment(_possible(wall), _possible(uptime), boot)


def _possible(seconds: Any) -> float:
    return min(max(seconds, 0.0), LARGEST_TIME)
