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


def check_home(home: Path) -> None:
    """UsageError unless the folder holds IdleTune's database: another program's files may have names like ours."""
    if not home.is_dir():
        raise UsageError(f"no home at {home}; name the one to erase with --home")
    if not (home / DATABASE[0]).is_file():
        raise UsageError(f"{home} holds no {DATABASE[0]}, so it is no home of IdleTune; name one with --home")


def links_in(home: Path) -> list[Path]:
    """What of ours in a home is a link: `erase` removes it, and leaves what it leads to."""
    return [path for path in _own(home) if path.is_symlink()]


def erase(home: Path) -> list[str]:
    """Overwrite and remove everything IdleTune keeps in a home, key and all; other files stay. Returns the names.

    Flash storage may keep old copies of overwritten blocks: only an encrypted home is gone beyond doubt, for
    its data keys went with the database. That goes last: what a kill leaves is still a home, to be erased again.
    UsageError for a folder that is no home, and for a file that cannot be removed.
    """
    check_home(home)
    erased = []
    for path in _own(home):
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
                continue
            if path.is_file() and not path.is_symlink():
                _overwrite(path)
            path.unlink()
        except OSError as error:
            raise UsageError(f"cannot erase {path} ({error.strerror}); make it yours, then erase again") from None
        erased.append(str(path.relative_to(home)))
    if not any(home.iterdir()) and not home.is_symlink():
        home.rmdir()
    return erased


def _own(home: Path) -> list[Path]:
    """All of ours in a home, a folder after what is in it, the database last. Links are not followed."""
    found = []
    for folder in (home / name for name in OWN_FOLDERS):
        inside = [] if folder.is_symlink() else sorted(folder.rglob("*"), reverse=True)
        found += [*inside, folder]
    return [path for path in (*found, *(home / name for name in reversed(OWN_FILES))) if os.path.lexists(path)]


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
