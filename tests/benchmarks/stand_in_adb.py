"""Stands in for adb and the phone behind it: runs the same commands on this machine, or in the arm64 environment.

As the real one, it joins the arguments of `shell` with spaces and hands them to the device's shell, returns the
command's exit code (`exec-out` always 0), and fails in its words. Paths under /data are the device's folder.
Its state is in files: `serial`, `trouble` (what goes wrong), `battery`, `idle`, `properties`, `log` of commands.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TERMUX = "data/data/com.termux/files"
TOOLS = ("mkdir", "rm", "cp", "cat", "md5sum", "env", "sh")
UNAUTHORIZED = """\
error: device unauthorized.
This adb server's $ADB_VENDOR_KEYS is not set
Try 'adb kill-server' if that seems wrong.
Otherwise check for a confirmation dialog on your device."""
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  status: 2
  level: 63
  temperature: 291
"""

RUN_AS = """#!/bin/sh
[ "$1" = com.termux ] || { echo "run-as: unknown package: $1" >&2; exit 1; }
shift
exec "$@"
"""
GETPROP = """#!/bin/sh
sed -n "s/^$1=//p" "{device}/properties"
"""
DUMPSYS = """#!/bin/sh
cd "{device}" || exit 1
case "$1 $2" in
    "battery set") echo "$3=$4" >> made_up ;;
    "battery reset") rm -f made_up ;;
    "battery ") cat battery ;;
    "deviceidle force-idle") echo forced > idle; echo "Now forced in to deep idle mode" ;;
    "deviceidle unforce") rm -f idle; echo "Light state: ACTIVE, deep state: ACTIVE" ;;
    "thermalservice ") echo "Thermal Status: 0" ;;
    *) echo "Can't find service: $1" >&2; exit 0 ;;
esac
"""


def make_device(folder: Path, python: list[str], variables: dict[str, str] | None = None) -> Path:
    """A device with Termux in `folder`, whose Python is the given command; returns the path of its adb."""
    for place in (f"{TERMUX}/usr/bin", f"{TERMUX}/usr/tmp", f"{TERMUX}/home", "data/local/tmp", "system/bin"):
        (folder / place).mkdir(parents=True)
    exports = "".join(f"export {name}={value!r}\n" for name, value in (variables or {}).items())
    command = " ".join(map(repr, python))
    _script(folder / TERMUX / "usr/bin/python3", f'#!/bin/sh\nunset LLAMA_CPP_LIB_PATH\n{exports}exec {command} "$@"\n')
    for name in TOOLS:
        (folder / TERMUX / "usr/bin" / name).symlink_to(shutil.which(name))
    for name, body in (("run-as", RUN_AS), ("getprop", GETPROP), ("dumpsys", DUMPSYS)):
        _script(folder / "system/bin" / name, body.replace("{device}", str(folder)))
    (folder / "battery").write_text(BATTERY)
    (folder / "properties").write_text("ro.build.version.sdk=35\nro.product.cpu.abi=arm64-v8a\nro.kernel.qemu=1\n")
    (folder / "serial").write_text("stand-in-5554")
    _script(folder / "adb", f'#!/bin/sh\nexec {sys.executable!r} {__file__!r} {str(folder)!r} "$@"\n')
    return folder / "adb"


def _script(path: Path, body: str) -> None:
    path.write_text(body)
    path.chmod(0o755)


def main(device: Path, arguments: list[str]) -> int:
    assert arguments[0] == "-s", arguments
    serial, command, rest = arguments[1], arguments[2], arguments[3:]
    trouble = _read(device / "trouble")
    with open(device / "log", "a") as log:
        log.write(" ".join([command, *rest]) + "\n")
    if serial != _read(device / "serial"):
        return _fail(f"error: device '{serial}' not found")
    if trouble in ("offline", "unauthorized"):
        return _fail("error: device offline" if trouble == "offline" else UNAUTHORIZED)
    if command == "get-state":
        print("device")
        return 0
    if command == "push":
        return push(device, Path(rest[0]), rest[1], trouble)
    return shell(device, " ".join(rest), trouble, exit_code=command == "shell")


def push(device: Path, local: Path, remote: str, trouble: str) -> int:
    if trouble == "full":
        why = "remote couldn't write: No space left on device"
        return _fail(f"adb: error: failed to copy '{local}' to '{remote}': {why}")
    there = device / remote.lstrip("/")
    if local.is_dir():
        shutil.copytree(local, there, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(local, there)
    print(f"{local}: 1 file pushed, 0 skipped.")
    return 0


def shell(device: Path, line: str, trouble: str, exit_code: bool) -> int:
    variables = {**os.environ, "PATH": f"{device}/system/bin:{os.environ['PATH']}"}
    here = line.replace("/data/", f"{device}/data/").replace("/system/bin", f"{device}/system/bin")
    running = subprocess.Popen(["sh", "-c", here], env=variables, start_new_session=True)
    if "on_target.py" in line and trouble in ("killed", "lost"):
        time.sleep(0.5)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        if trouble == "lost":  # the cable: later commands fail as well
            (device / "trouble").write_text("offline")
            return 255
        return 137
    code = running.wait()
    return (128 - code if code < 0 else code) if exit_code else 0


def _fail(words: str) -> int:
    print(words, file=sys.stderr)
    return 1


def _read(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
