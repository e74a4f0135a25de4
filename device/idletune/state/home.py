"""The home folder: for its owner only, free of what others put there, and erased when the user asks for it."""

import os
import re
import shutil
import stat
from pathlib import Path

from ..errors import UsageError

# What IdleTune itself keeps in a home. Nothing of another name is ever written over, swept or erased.
DATABASE = ("idletune.db", "idletune.db-wal", "idletune.db-shm", "idletune.db-journal")
WEB_TOKEN = "web_token"
QUANTIZED = "quantized"  # int8 weights: a folder for each base model, by its SHA-256
OWN_FILES = (
    *DATABASE,
    "training.npz",
    "training.part",
    "adopted.gguf",
    "adopted.gguf.part",
    "settings.json",
    "settings.part",
    "learner.lock",
    "tried_models.json",
    "tried_models.part",
    WEB_TOKEN,
)
# Folders and the names in them that are ours; graphs come from idletune-export, by way of the user.
OWN_FOLDERS = {
    "adapters": re.compile(r"adapter-\d{5,19}\.(gguf|part)"),
    "graphs": re.compile(r"(.*/)?(shape\.json|[^/]+\.onnx)"),
    QUANTIZED: re.compile(r"[0-9a-f]{64}/[\w-]+\.(int8|part)"),
    "termux": re.compile(r"(learn|ask|answer)(\.log|\.part)?"),
}
# What may lie in a home before its database does: put there by hand, or by install-termux.sh.
BEFORE_DATABASE = (
    "settings.json",
    "settings.part",
    "learner.lock",
    "graphs",
    "termux",
    "bundle",
    "bundle.part",
    WEB_TOKEN,
)


def make_home(home: Path) -> Path:
    """The folder with mode 0700. An existing one is closed to others if it is ours or empty.

    UsageError for a folder that is somebody's already: one without our database that holds other things, and one that
    others can read and that holds other things beside ours.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_whose(home)
        _check_kinds(home)
        if os.name == "posix" and _mode(home) & 0o077:
            _close_to_others(home)
    except OSError as error:
        raise UsageError(f"cannot use {home} as home ({error.strerror}); name a folder of yours") from None
    except ValueError:  # a NUL character
        raise UsageError(f"cannot use {str(home)[:80]!r} as home; name a folder of yours") from None
    return home


def _check_kinds(home: Path) -> None:
    """UsageError for a folder, a pipe or a device in the place of a file of ours: reading one might never end."""
    for path in (home / name for name in OWN_FILES):
        if os.path.lexists(path) and not path.is_symlink() and not path.is_file():
            raise UsageError(f"{path} is no regular file; move it away, or name another home")


def own_folder(home: Path, name: str) -> Path:
    """A folder of ours in a home, made if there is none. UsageError for a link: what it leads to is not ours."""
    folder = home / name
    try:
        if folder.is_symlink():
            raise UsageError(f"{folder} is a link to {os.readlink(folder)}; put a folder in its place, or remove it")
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot use {folder} ({error.strerror}); it has to be a folder of yours") from None
    return folder


def own_files(folder: Path) -> list[Path]:
    """The files in a folder of OWN_FOLDERS whose names are of the kind that this program writes; links are not."""
    names = OWN_FOLDERS[folder.name]
    return [path for path in sorted(folder.iterdir()) if names.fullmatch(path.name) and is_plain_file(path)]


def stored_bytes(home: Path) -> int:
    """What the int8 weights of all base models take in a home. They hold nothing of the user's."""
    return sum(path.stat().st_size for path in (home / QUANTIZED).glob("*/*.int8") if is_plain_file(path))


def remove_stored(home: Path, but: str = "") -> None:
    """Remove the int8 weights of all base models, or of all others but one. A process that has them mapped keeps its
    own."""
    folder = home / QUANTIZED
    for found in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
        if found.name != but and found.is_dir() and not found.is_symlink():
            shutil.rmtree(found, ignore_errors=True)


def is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def remove_file(path: Path) -> None:
    """Remove a file of ours, or a link in its place; what is neither is somebody else's and stays."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)


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
                if not any(path.iterdir()):  # else it holds a file of somebody else's
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


def left_in(home: Path) -> list[Path]:
    """What lies in the folders of ours and is not: `erase` leaves it."""
    own = set(_own(home))
    return [path for path in _inside(home) if path not in own]


def _own(home: Path) -> list[Path]:
    """All of ours in a home, a folder after what is in it, the database last. Links are not followed."""
    found = []
    for folder, names in ((home / name, names) for name, names in OWN_FOLDERS.items()):
        inside = [] if folder.is_symlink() else sorted(folder.rglob("*"), reverse=True)
        found += [path for path in inside if _is_ours(path, folder, names)] + [folder]
    return [path for path in (*found, *(home / name for name in reversed(OWN_FILES))) if os.path.lexists(path)]


def _inside(home: Path) -> list[Path]:
    folders = [home / name for name in OWN_FOLDERS if not (home / name).is_symlink()]
    return sorted(path for folder in folders for path in folder.rglob("*"))


def _is_ours(path: Path, folder: Path, names: re.Pattern) -> bool:
    is_folder = path.is_dir() and not path.is_symlink()
    return is_folder or bool(names.fullmatch(path.relative_to(folder).as_posix()))


def _check_whose(home: Path) -> None:
    """A folder without our database is ours only if nothing is in it that somebody else may have put there."""
    found = sorted(path.name for path in home.iterdir())
    foreign = [name for name in found if name not in BEFORE_DATABASE and not _is_empty_folder(home / name)]
    if not foreign or (home / DATABASE[0]).exists():
        return
    learned = [name for name in foreign if name in OWN_FILES or name in OWN_FOLDERS]
    if learned == foreign:
        raise UsageError(
            f"{home} holds {', '.join(foreign[:3])} but no {DATABASE[0]}, so it is no home; put the database back, or"
            " move them away to start anew, or name another folder with --home"
        )
    raise UsageError(
        f"{home} holds other files ({', '.join(foreign[:3])}) and no {DATABASE[0]}, so it is no home of IdleTune;"
        " name an empty folder, or a new one, with --home"
    )


def _is_empty_folder(path: Path) -> bool:
    return path.name in OWN_FOLDERS and path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _close_to_others(home: Path) -> None:
    others = sorted({path.name for path in home.iterdir()} - {*OWN_FILES, *OWN_FOLDERS, *BEFORE_DATABASE})
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
