"""A phone or an emulator with Termux, behind adb.

Termux's files belong to Termux alone: everything runs through `run-as com.termux`, which Android allows for a
debuggable Termux (the releases on GitHub are). Files come in by way of /data/local/tmp. The runtime's packages
have to be installed in Termux beforehand (README). Battery and idle state are set with dumpsys, so that every
run measures the same state, and are given back whatever happens.
"""

import hashlib
import re
import shlex
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

from idletune.errors import DamagedDataError, UsageError

TERMUX = "/data/data/com.termux/files"
PYTHON = f"{TERMUX}/usr/bin/python3"
PASSAGE = "/data/local/tmp/idletune-latency"
FOLDER = f"{TERMUX}/home/.idletune-latency"
PROGRAM_SECONDS, COMMAND_SECONDS = 3 * 3600, 600
SET = ["dumpsys battery set ac 1", "dumpsys battery set level 80", "dumpsys deviceidle force-idle"]
GIVE_BACK = ["dumpsys battery reset", "dumpsys deviceidle unforce"]
# idletune, which switches telemetry off elsewhere, is not there yet.
PACKAGES = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; import numpy, onnxruntime, llama_cpp, jinja2"
# What adb says, and what to do about it.
TROUBLES = {
    "unauthorized": "unlock it and allow this computer's key",
    "offline": "plug it in again, or run adb reconnect",
    "not found": "adb devices lists the serials",
    "no space left": "free some storage on it",
    "not debuggable": "install Termux from its GitHub releases, run-as refuses the other builds",
    "unknown package": "install Termux from its GitHub releases",
}


class Adb:
    """One device by its serial."""

    def __init__(self, serial: str, program: str = "adb"):
        self.serial, self.program = serial, program
        self.name = "adb-" + re.sub(r"[^\w.-]", "_", serial)
        self.launcher = None
        self.emulated = False  # known once it is prepared

    def prepare(self) -> None:
        """Check the device, Termux and the runtime's packages, before anything is copied."""
        state = self._adb(["get-state"]).strip()
        if state != "device":
            raise UsageError(f"{self.serial} is in the state {state!r}; start it normally")
        self.emulated = "1" in (self._property("ro.kernel.qemu"), self._property("ro.boot.qemu"))
        self._termux([PYTHON, "-c", PACKAGES])
        self._termux(["mkdir", "-p", FOLDER])

    def push(self, local: Path, name: str) -> str:
        """By way of a folder both may read; the copy there is removed."""
        passage, there = f"{PASSAGE}/{Path(name).name}", f"{FOLDER}/{name}"
        self._shell(["mkdir", "-p", PASSAGE])
        try:
            self._shell(["rm", "-rf", passage])
            self._adb(["push", str(local), passage])
            self._termux(["mkdir", "-p", str(Path(there).parent)])
            self._termux(["rm", "-rf", there])
            self._termux(["cp", "-r", passage, there])
        finally:
            self._try(f"rm -rf {shlex.quote(passage)}")
        return there

    def run(self, arguments: list[str]) -> None:
        self._termux([PYTHON, *arguments], seconds=PROGRAM_SECONDS, heard=False)

    def pull(self, name: str, local: Path) -> None:
        """Read through run-as, which may not write where adb pull could read; an md5 guards the way."""
        there = f"{FOLDER}/{name}"
        told = self._termux(["md5sum", there]).split()
        content = self._adb(["exec-out", shlex.join(_as_termux(["cat", there]))], raw=True)
        if not told or hashlib.md5(content).hexdigest() != told[0]:
            raise DamagedDataError(f"{len(content)} bytes of {name} came from {self.serial} changed; run it again")
        local.write_bytes(content)

    def describe(self) -> dict:
        names = {"sdk": "ro.build.version.sdk", "abi": "ro.product.cpu.abi", "device": "ro.product.model"}
        about = {key: self._property(name) for key, name in names.items()}
        thermal = re.search(r"Thermal Status: (\d)", self._shell(["dumpsys", "thermalservice"]))
        return {**about, "battery": self._battery(), "thermal_status": int(thermal[1]) if thermal else None}

    @contextmanager
    def quiet(self):
        """On the charger, 80% and idle, as far as Android's services know; the real state again afterwards."""
        for command in GIVE_BACK:  # an earlier run may have been killed
            self._shell(shlex.split(command))
        with _ended_by_signals():
            try:
                for command in SET:
                    self._shell(shlex.split(command))
                yield
            finally:
                failed = [command for command in GIVE_BACK if not self._try(command)]
                if failed:
                    print(f"{self.serial} still has a made-up state; on it, run: {'; '.join(failed)}")

    def _battery(self) -> dict:
        told = self._shell(["dumpsys", "battery"])
        found = dict(re.findall(r"^\s*(level|temperature|status): (-?\d+)", told, re.MULTILINE))
        plugged = re.findall(r"^\s*(AC|USB|Wireless|Dock) powered: true", told, re.MULTILINE)
        return {**{name: int(value) for name, value in found.items()}, "plugged": plugged}

    def _property(self, name: str) -> str:
        return self._shell(["getprop", name]).strip()

    def _termux(self, command: list[str], **how) -> str:
        return self._shell(_as_termux(command), **how)

    def _shell(self, command: list[str], **how) -> str:
        # adb joins its arguments with spaces for the shell of the device: they are quoted once, as a whole.
        return self._adb(["shell", shlex.join(command)], **how)

    def _try(self, command: str) -> bool:
        try:
            self._adb(["shell", command])
            return True
        except UsageError:
            return False

    def _adb(self, arguments: list[str], raw=False, seconds: float = COMMAND_SECONDS, heard=True):
        """What adb wrote to standard output; UsageError with its words and the next step when it fails."""
        command = [self.program, "-s", self.serial, *arguments]
        try:
            # What is not heard goes to the terminal as it comes: the program's progress.
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if heard else None,
                stdin=subprocess.DEVNULL,
                timeout=seconds,
            )
        except FileNotFoundError:
            raise UsageError("adb is not installed (Debian: apt install adb)") from None
        except subprocess.TimeoutExpired:
            raise UsageError(f"{self.serial} did not answer within {seconds:.0f} s; is it still connected?") from None
        if done.returncode:
            raise UsageError(_explained(self.serial, arguments, done))
        return done.stdout if raw else done.stdout.decode("utf-8", "replace")


def _as_termux(command: list[str]) -> list[str]:
    variables = {
        "PATH": f"{TERMUX}/usr/bin:/system/bin",
        "HOME": f"{TERMUX}/home",
        "PREFIX": f"{TERMUX}/usr",
        "TMPDIR": f"{TERMUX}/usr/tmp",
        "PYTHONPATH": FOLDER,
        "LLAMA_CPP_LIB_PATH": f"{TERMUX}/usr/lib",
    }
    return ["run-as", "com.termux", "env", *(f"{name}={value}" for name, value in variables.items()), *command]


def _explained(serial: str, arguments: list[str], done) -> str:
    words = " ".join(((done.stderr or b"") + (done.stdout or b"")).decode("utf-8", "replace").split())[-300:]
    step = next((step for sign, step in TROUBLES.items() if sign in words.lower()), "")
    if not step and done.returncode in (137, 255):
        step = "it was killed or the connection was lost: keep Termux open and the screen on, then run it again"
    what = f"adb {arguments[0]} on {serial} ended with {done.returncode}"
    return f"{what}: {words or 'no words'}; {step or 'run it again'}"


@contextmanager
def _ended_by_signals():
    """A hang-up or a plain kill becomes an exit, so that what has to be given back is given back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number, frame):
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
