"""ONNX Runtime's telemetry: off before its library is loaded, and the files it left are removed.

Measured with strace in a network namespace of its own: one session, one run, 75 seconds, PyPI's wheels for Linux.
- 1.23.0 to 1.28.0 (9 wheels) hold no uploader: no socket, no file.
- 1.29.0, 1.30.0, 1.31.0, 1.31.1 and 1.32.0 open sockets to mobile.events.data.microsoft.com and keep a device id and
  a queue of events; the import is enough. With ORT_DISABLE_TELEMETRY=1 in the environment before the library is
  loaded: neither.
- Set after the import it does nothing, and onnxruntime.disable_telemetry_events() is too late as well.
- Where a variable of continuous integration is set (CI, GITHUB_ACTIONS ...), 1.32.0 sends nothing: who looks there sees
  a silence that users do not have.
docs/privacy.md tells the whole of it. `idletune/__init__.py` calls `switch_off`, so no module of the package runs
before it; whoever imports onnxruntime imports idletune first (tests/device/test_telemetry.py).
"""

import mmap
import os
import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from .errors import UsageError

SWITCH = "ORT_DISABLE_TELEMETRY"
ON = "1", "true", "yes", "on"  # what ONNX Runtime takes for set: tried with 1.29.0 to 1.32.0; "2" and "0" it does not
FIRST_WITH_TELEMETRY, NEWEST_TESTED = (1, 29), (1, 32)
UPLOADER = b"events.data.microsoft.com"  # in each library that has telemetry, beside the switch's name
FOLDER = Path("Microsoft") / "DeveloperTools" / ".onnxruntime"  # in the user's cache folder
FILES = (
    "deviceid",
    "deviceid.lock",
    "onnxruntime.db",
    "onnxruntime.db-journal",
    "onnxruntime.db-wal",
    "onnxruntime.db-shm",
)

_set_by_host = False  # the switch was set before this package was imported
_imported_by_host = False  # the package onnxruntime was


def switch_off() -> None:
    """Set the switch in this process's environment, for Python and C alike, and for the processes it starts."""
    global _set_by_host, _imported_by_host
    _set_by_host = os.environ.get(SWITCH, "").lower() in ON
    _imported_by_host = sys.modules.get("onnxruntime") is not None
    os.environ[SWITCH] = "1"


def import_onnxruntime() -> ModuleType:
    """The package onnxruntime. UsageError when its telemetry is on already, or cannot be switched off."""
    spec = find_spec("onnxruntime")
    if spec and spec.origin:
        libraries = (Path(spec.origin).parent / "capi").glob("onnxruntime_pybind11_state*")
        check(_installed_version(), next(libraries, None), _imported_by_host)
    import onnxruntime

    return onnxruntime


def check(version: str, library: Path | None, loaded_by_host: bool) -> None:
    """UsageError unless this ONNX Runtime keeps silent in this process.

    Of versions newer than those tested, the library must at least know the switch.
    """
    number = _parsed(version)
    if number < FIRST_WITH_TELEMETRY:
        return
    if loaded_by_host and not _set_by_host:
        raise UsageError(
            f"ONNX Runtime {version} was loaded before idletune, with its telemetry on; import idletune first,"
            f" or set {SWITCH}=1 in the environment of the program"
        )
    if number > NEWEST_TESTED and not _knows_switch(library):
        raise UsageError(
            f"ONNX Runtime {version} may send telemetry, which {SWITCH} does not switch off;"
            f" install onnxruntime<={NEWEST_TESTED[0]}.{NEWEST_TESTED[1]}"
        )


def files() -> list[Path]:
    """What ONNX Runtime's telemetry left in the user's cache folder."""
    return [path for path in (cache_folder() / FOLDER / name for name in FILES) if os.path.lexists(path)]


def remove_files() -> list[Path]:
    """Remove what the telemetry left, and its folders where nothing else is in them. Returns the removed files.

    Another program's ONNX Runtime uses the same files; it makes a new device id, and loses the events that wait.
    A linked folder is not followed: what it leads to was not put there by ONNX Runtime. Never raises.
    """
    folder, removed = cache_folder() / FOLDER, []
    folders = [folder, *folder.parents[: len(FOLDER.parts) - 1]]
    if any(part.is_symlink() for part in folders):
        return []
    for path in files():
        try:
            path.unlink()
            removed.append(path)
        except OSError:  # a folder of that name, or another user's: not ours to remove
            pass
    for part in folders if removed else ():
        try:
            part.rmdir()
        except OSError:  # something else is in it
            break
    return removed


def cache_folder() -> Path:
    """Where ONNX Runtime puts its files: XDG_CACHE_HOME, or `.cache` in the home folder."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".cache"


def _installed_version() -> str:
    """Of the package, without importing it; "" when nothing tells it."""
    try:
        return metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        return ""


def _parsed(version: str) -> tuple[int, ...]:
    """Major and minor number; of what is no version, one newer than all that were tested."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (NEWEST_TESTED[0] + 1, 0)


def _knows_switch(library: Path | None) -> bool:
    if library is None:
        return False
    try:
        with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(SWITCH.encode()) >= 0 or content.find(UPLOADER) < 0
    except (OSError, ValueError):  # not there, or empty: nothing is known of it
        return False
