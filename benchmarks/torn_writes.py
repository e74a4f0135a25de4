"""What a power cut leaves of writes that had not reached the disk, made by hand on a killed process's files.

Everything acknowledged was flushed before it was acknowledged, so only later bytes may be torn: frames of the
write-ahead log after the last acknowledged commit, pages of the database file that the log still holds, and
files that were not renamed into place yet. Formats: sqlite.org/walformat.html.
"""

import os
import random
from pathlib import Path

HEADER, FRAME_HEADER = 32, 24  # bytes of the log's header, and of each frame's
SECTOR = 512


def tear_log_tail(home: Path, safe: str, chance: random.Random) -> bool:
    """Damage the log behind its acknowledged part; False when there is nothing behind it."""
    log = home / "idletune.db-wal"
    size = log.stat().st_size if log.is_file() else 0
    start = _acknowledged_bytes(log, safe) if size > HEADER else size
    if start >= size:
        return False
    _damage(log, chance.randrange(start, size), chance)
    return True


def tear_database_page(home: Path, safe: str, chance: random.Random) -> bool:
    """Damage a page as if the copying of the log into the file had been cut; the log still holds the page."""
    log, database = home / "idletune.db-wal", home / "idletune.db"
    if not log.is_file() or log.stat().st_size <= HEADER:
        return False
    data = log.read_bytes()
    page_bytes, salt = int.from_bytes(data[8:12], "big"), data[16:24]
    end = min(len(data), _acknowledged_bytes(log, safe))
    starts = range(HEADER, end - page_bytes - FRAME_HEADER + 1, page_bytes + FRAME_HEADER)
    held = {int.from_bytes(data[at : at + 4], "big") for at in starts if data[at + 8 : at + 16] == salt}
    held = sorted(page for page in held if page * page_bytes <= database.stat().st_size)
    if not held:
        return False
    with open(database, "r+b") as file:
        file.seek((chance.choice(held) - 1) * page_bytes + chance.randrange(0, page_bytes, SECTOR))
        file.write(chance.randbytes(SECTOR))
    return True


def tear_unfinished_file(home: Path, _: str, chance: random.Random) -> bool:
    """A file that was being written: part of it, or garbage in it."""
    partial = [path for path in (home / "training.part", *(home / "adapters").glob("*.part")) if path.is_file()]
    if not partial:  # the kill fell elsewhere: what a cut amid the writing of the checkpoint leaves
        checkpoint = home / "training.npz"
        if not checkpoint.is_file():
            return False
        partial = [home / "training.part"]
        partial[0].write_bytes(checkpoint.read_bytes())
    _damage(partial[0], chance.randrange(max(1, partial[0].stat().st_size)), chance)
    return True


TEARS = {
    "log tail": tear_log_tail, "database page": tear_database_page, "file being written": tear_unfinished_file,
}


def _acknowledged_bytes(log: Path, safe: str) -> int:
    """Length of the log's part that was acknowledged; none of it when the log began anew since."""
    with open(log, "rb") as file:
        header = file.read(HEADER)
    salt, frames = safe.split()
    if header[16:24].hex() != salt:
        return HEADER
    return HEADER + int(frames) * (FRAME_HEADER + int.from_bytes(header[8:12], "big"))


def _damage(path: Path, at: int, chance: random.Random) -> None:
    if chance.random() < 0.5:
        os.truncate(path, at)
        return
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(chance.randbytes(min(SECTOR, path.stat().st_size - at)))
