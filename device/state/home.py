"""The home folder: for its owner only, and erased when the user asks for it."""

import os
import stat
from pathlib import Path

from ..errors import UsageError

# What IdleTune itself keeps in a home; a folder with anything else in it is somebody's folder already.
DATABASE = ("idletune.db", "idletune.db-wal", "idletune.db-shm", "idletune.db-journal")
OWN_FILES = (
    *DATABASE, "training.npz", "training.part", "adopted.gguf", "adopted.gguf.part", "settings.json",
    "settings.part", "learner.lock",
)
OWN_FOLDERS = ("adapters", "graphs", "termux")


def make_home(home: Path) -> Path:
    """The folder with mode 0700. An existing one is closed to others if it is ours or empty.

    UsageError for a folder others can read that holds other things too: closing it might lock others out of
    what they use, and leaving it open would show them the conversations.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix" and _mode(home) & 0o077:
            _close_to_others(home)
    except OSError as error:
        raise UsageError(f"cannot use {home} as home ({error.strerror}); name a folder of yours") from None
    return home


def erase(home: Path) -> list[str]:
    """Overwrite and remove everything IdleTune keeps in a home, key and all; other files stay. Returns the names.

    Flash storage may keep old copies of overwritten blocks: only an encrypted home is gone beyond doubt, for
    its data keys went with the database.
    """
    if not home.is_dir():
        raise UsageError(f"no home at {home}; name the one to erase with --home")
    files = [home / name for name in OWN_FILES if (home / name).is_file()]
    files += [path for name in OWN_FOLDERS for path in sorted((home / name).rglob("*")) if path.is_file()]
    for path in files:
        _overwrite(path)
        path.unlink()
    for name in OWN_FOLDERS:
        folders = sorted((path for path in (home / name).rglob("*") if path.is_dir()), reverse=True)
        for folder in (*folders, home / name):
            if folder.is_dir():
                folder.rmdir()
    if not any(home.iterdir()):
        home.rmdir()
    return [str(path.relative_to(home)) for path in files]


def _close_to_others(home: Path) -> None:
    others = sorted({path.name for path in home.iterdir()} - {*OWN_FILES, *OWN_FOLDERS})
    if others:
        raise UsageError(
            f"{home} has mode {_mode(home):04o} and holds other files ({', '.join(others[:3])}):"
            f" others could read the conversations; name a folder of its own, or chmod 700 {home}"
        )
    home.chmod(0o700)
    if _mode(home) & 0o077:
        raise UsageError(f"the storage of {home} keeps no access rights; name a folder on the internal storage")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _overwrite(path: Path) -> None:
    try:
        with open(path, "r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # a full or failing disk: what matters is that the file goes
        pass
