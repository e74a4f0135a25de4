"""Where the measuring program runs: this machine, an emulated arm64 one, or a phone behind adb.

A target takes files, runs Python on them, gives files back, and says what it is. The program and the runtime
are the same everywhere; `emulated` marks times that say nothing of a physical device.
"""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from idletune.errors import UsageError

ROOT = Path(__file__).parents[2]
ARM64 = ROOT / ".cache" / "arm64"


class Target(Protocol):
    """`name` names result files; `launcher` starts Python there where the interpreter alone does not."""

    name: str
    emulated: bool
    launcher: list[str] | None

    def prepare(self) -> None:
        """Set up or check what the target needs; UsageError says what is missing."""

    def push(self, local: Path, name: str) -> str:
        """Copy a file or a folder into the target's working folder; returns its path there."""

    def run(self, arguments: list[str]) -> None:
        """Run Python with these arguments to its end; UsageError when it fails."""

    def pull(self, name: str, local: Path) -> None:
        """Copy a file of the working folder here; UsageError when it is not there."""

    def describe(self) -> dict:
        """What only the outside knows of the target; the program tells the rest."""

    def quiet(self):
        """A context in which the target is held in the state to measure in; undone whatever happens."""


class Host:
    """This machine, in a folder of its own."""

    name, emulated = "host", False

    def __init__(self, folder: Path):
        self.folder = folder
        self.launcher = None
        self.environment = {**os.environ, "PYTHONPATH": str(folder)}

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def push(self, local: Path, name: str) -> str:
        there = self.folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if local.is_dir():
            shutil.copytree(local, there, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(local, there)
        return str(there)

    def run(self, arguments: list[str]) -> None:
        code = subprocess.run([*(self.launcher or [sys.executable]), *arguments], env=self.environment).returncode
        if code:
            raise UsageError(f"the measuring program ended with {code} on {self.name}; its own words are above")

    def pull(self, name: str, local: Path) -> None:
        if not (self.folder / name).is_file():
            raise UsageError(f"{self.name} left no {name}; run it again")
        shutil.copyfile(self.folder / name, local)

    def describe(self) -> dict:
        return {}

    @contextmanager
    def quiet(self):
        yield


class QemuArm64(Host):
    """An arm64 user space run by qemu, set up by scripts/arm64_environment.sh. Its times mean nothing for a phone."""

    name, emulated = "qemu-aarch64", True

    def __init__(self, folder: Path, root: Path = ARM64):
        super().__init__(folder)
        self.root = root

    def prepare(self) -> None:
        super().prepare()
        script = ROOT / "scripts" / "arm64_environment.sh"
        if subprocess.run([script, self.root], env={**os.environ, "PYTHON": sys.executable}).returncode:
            raise UsageError("the arm64 environment is not complete; its own words are above, run it again")
        self.launcher = arm64_python(self.root)
        self.environment = arm64_variables(self.root, self.folder)

    def describe(self) -> dict:
        told = subprocess.run([self.launcher[0], "--version"], capture_output=True, text=True).stdout
        return {"emulator": told.splitlines()[0]}


def arm64_python(root: Path) -> list[str]:
    """The command that starts the environment's Python."""
    interpreters = sorted((root / "usr" / "bin").glob("python3.[0-9]*"))
    if not interpreters:
        raise UsageError(f"no Python in {root}; remove the folder and set it up again")
    return ["qemu-aarch64-static", "-L", str(root), str(interpreters[0])]


def arm64_variables(root: Path, folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": f"{folder}:{root / 'site'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder),
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
    }


def make_target(name: str, folder: Path) -> Target:
    """By its name: host, qemu-aarch64 or adb:SERIAL; `folder` is where the first two work."""
    if name == "host":
        return Host(folder)
    if name == "qemu-aarch64":
        return QemuArm64(folder)
    if name.startswith("adb:") and len(name) > 4:
        from .adb import Adb

        return Adb(name.removeprefix("adb:"))
    raise UsageError(f"no target {name!r}; choose host, qemu-aarch64 or adb:SERIAL (adb devices lists the serials)")
