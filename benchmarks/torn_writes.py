"""What a power cut leaves of writes that had not reached the disk, made by hand on a killed process's files.

What was flushed stays, so only later bytes may be torn: the write-ahead log's last transaction, unless it was
acknowledged or its copying into the database file had begun; pages of that file that the log still holds; and
files that were not renamed into place yet. Formats: sqlite.org/walformat.html.
"""

import os
import random
import sys
from pathlib import Path

HEADER, FRAME_HEADER = 32, 24  # bytes of the log's header, and of each frame's
SECTOR = 512
COPY_ATTEMPTED = 128  # where the log's index keeps how many frames may have been copied to the database


def tear_log_tail(home: Path, safe: str, chance: random.Random) -> bool:
    """Damage the log behind what was flushed for certain; False when there is nothing behind it."""
    log = home / "idletune.db-wal"
    if not log.is_file() or log.stat().st_size <= HEADER:
        return False
    frame_bytes, commits, end = _frames(log)
    # With a new transaction behind it, the last commit was flushed; else that may have been under way.
    flushed = commits[-1] if commits and commits[-1] < end else commits[-2] if len(commits) > 1 else 0
    index = (home / "idletune.db-shm").read_bytes()
    copied = int.from_bytes(index[COPY_ATTEMPTED : COPY_ATTEMPTED + 4], sys.byteorder)
    start = max(_acknowledged_bytes(log, safe), HEADER + frame_bytes * max(flushed, copied))
    if start >= HEADER + frame_bytes * end:
        return False
    _damage(log, chance.randrange(start, HEADER + frame_bytes * end), chance)
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
    "log tail": tear_log_tail,
    "database page": tear_database_page,
    "file being written": tear_unfinished_file,
}


def _frames(log: Path) -> tuple[int, list[int], int]:
    """Bytes of a frame; after how many frames a transaction was committed, each time; frames of the log in all."""
    data = log.read_bytes()
    frame_bytes, commits, count = FRAME_HEADER + int.from_bytes(data[8:12], "big"), [], 0
    for at in range(HEADER, len(data) - FRAME_HEADER + 1, frame_bytes):
        if data[at + 8 : at + 16] != data[16:24]:  # of the log before it began anew
            break
        count += 1
        if any(data[at + 4 : at + 8]):
            commits.append(count)
    return frame_bytes, commits, count


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
