"""The C library, CPython for Android and ONNX Runtime for Android on a real Android C library, in a chroot.

Run as root: make test-android-userland ANDROID_SYSTEM=DIR [ABI=x86_64|arm64-v8a] PYTHON_TARGET=DIR ORT=FILE.aar
ANDROID_SYSTEM is a /system tree (bin/linker64, lib64/libc.so ...), as `adb pull /system` gives it; PYTHON_TARGET a
folder with the files of Maven Central's com.chaquo.python:target 3.11. On x86_64, arm64 runs under qemu-user: slowly,
so its times mean nothing.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLANG = {"x86_64": "x86_64-linux-android28", "arm64-v8a": "aarch64-linux-android28"}
EMULATORS = {"arm64-v8a": "qemu-aarch64-static", "x86_64": "qemu-x86_64-static"}
NATIVE = {"x86_64": "x86_64", "aarch64": "arm64-v8a"}
VERSION = '{"jsonrpc": "2.0", "id": 1, "method": "version"}'
OPEN = '{"jsonrpc": "2.0", "id": 2, "method": "open", "params": {"model": "/app/none.gguf", "home": "/app/home"}}'
LARGEST_DIFFERENCE = 1e-5
ZLIB = [  # what CPython's modules link
    "adler32",
    "crc32",
    "deflate",
    "deflateCopy",
    "deflateEnd",
    "deflateInit2_",
    "deflateSetDictionary",
    "inflate",
    "inflateCopy",
    "inflateEnd",
    "inflateInit2_",
    "inflateSetDictionary",
    "zlibVersion",
]


class NotRun(Exception):
    """Something that the person has to name is not there."""


def build_program(abi: str, system: Path, libraries: list[Path], sources: list[Path], output: Path) -> None:
    """A program for Android without an NDK, linked against the tree's own C library."""
    subprocess.run(
        [
            "clang",
            f"--target={CLANG[abi]}",
            "-std=c11",
            "-O2",
            "-ffreestanding",
            "-fno-stack-protector",
            "-fPIE",
            "-nostdlib",
            "-pie",
            "-fuse-ld=lld",
            f"-I{HERE / 'include'}",
            *map(str, sources),
            *(f"-L{path.parent}" for path in libraries),
            *(f"-l:{path.name}" for path in libraries),
            str(system / "lib64" / "libc.so"),
            "-Wl,--dynamic-linker=/system/bin/linker64",
            "-Wl,--allow-shlib-undefined",
            "-o",
            str(output),
        ],
        check=True,
    )


def lay_out(abi: str, system: Path, target: Path, aar: Path | None, root: Path) -> Path:
    """The chroot; returns its /app."""
    app = root / "app"
    shutil.copytree(system, root / "system", symlinks=True, ignore_dangling_symlinks=True)
    for folder in (app / "python" / "lib-dynload", root / "dev", root / "proc", root / "tmp"):
        folder.mkdir(parents=True)
    stdlib, built = one(target, "*stdlib.zip"), one(target, f"*{abi}.zip")
    with zipfile.ZipFile(stdlib) as archive:
        archive.extractall(app / "python")
    with zipfile.ZipFile(built) as archive:
        for name in archive.namelist():
            if name.endswith(".so"):
                place = app / "python" / "lib-dynload" if name.startswith("lib-dynload") else app
                (place / Path(name).name).write_bytes(archive.read(name))
    shutil.copytree(
        ROOT / "device" / "idletune", app / "python" / "idletune", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "build" / "android" / abi / "libidletune.so", app)
    if aar:
        with zipfile.ZipFile(aar) as archive:
            (app / "libonnxruntime.so").write_bytes(archive.read(f"jni/{abi}/libonnxruntime.so"))
        build_stub(abi, "libandroid.so", [], app)  # outside an app there is none
    if not (system / "lib64" / "libz.so").exists():  # small trees lack it; real devices do not
        build_stub(abi, "libz.so", ZLIB, app)
    return app


def build_stub(abi: str, name: str, functions: list[str], folder: Path) -> None:
    """A library whose functions do nothing; they are needed to load others, and not called here."""
    source = "".join(f'const char *{function}(void) {{ return "1"; }}\n' for function in functions)
    subprocess.run(
        [
            "clang",
            f"--target={CLANG[abi]}",
            "-nostdlib",
            "-shared",
            "-fPIC",
            "-ffreestanding",
            "-fno-builtin",
            "-fuse-ld=lld",
            f"-Wl,-soname,{name}",
            "-x",
            "c",
            "-",
            "-o",
            str(folder / name),
        ],
        input=source,
        text=True,
        check=True,
    )


def one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise NotRun(f"no {pattern} in {folder}")
    return found[0]


@contextmanager
def mounted(root: Path, sources: tuple[Path, ...] = (Path("/proc"), Path("/dev"))):
    """/proc and the few devices that Python asks for; whatever happens, each is unmounted again if that can be done."""
    try:
        for source in sources:  # a slave: what is unmounted here stays mounted there
            subprocess.run(["mount", "--rbind", "--make-rslave", str(source), str(root / source.name)], check=True)
        yield
    finally:
        for place in reversed(mounts_in(root)):
            subprocess.run(["umount", "-l", place])


@contextmanager
def temporary_root():
    """A folder that is deleted at the end, but never with something mounted in it: that would be deleted as well."""
    root = Path(tempfile.mkdtemp(prefix="idletune-userland-"))
    try:
        yield root
    finally:
        if left := mounts_in(root):
            print(f"{root} stays, since these are still mounted: {' '.join(left)}; unmount them, then delete it")
        else:
            shutil.rmtree(root)


def mounts_in(root: Path) -> list[str]:
    """Where something is mounted below `root`, as the kernel says, outer ones first."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [place for place in places if f"/{root.name}/" in place]


class Userland:
    def __init__(self, abi: str, root: Path):
        self.root, self.emulator = root, []
        if NATIVE.get(platform.machine()) != abi:
            emulator = shutil.which(EMULATORS[abi])
            if not emulator:
                raise NotRun(f"no {EMULATORS[abi]} here (Debian: apt install qemu-user-static)")
            shutil.copy(emulator, root / "emulator")
            self.emulator = ["/emulator"]

    def run(self, *command: str, seconds: int = 1800) -> list[dict]:
        """The lines of JSON it printed; the tree's linker may have remarks of its own."""
        environment = {
            "LD_LIBRARY_PATH": "/app:/system/lib64",
            "PATH": "/system/bin",
            "HOME": "/app",
            "PYTHONHOME": "/app",
            "PYTHONPATH": "/app/python:/app/python/lib-dynload",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [shutil.which("chroot") or "/usr/sbin/chroot", str(self.root), *self.emulator, *command],
            env=environment,
            timeout=seconds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check(given) -> None:
    with temporary_root() as root:
        app = lay_out(given.abi, given.system, given.python_target, given.onnxruntime, root)
        userland = Userland(given.abi, root)
        python = ("/app/libpython3.11.so", "/app", "/app/python:/app/python/lib-dynload")
        library, native = app / "libidletune.so", HERE.parent / "native"
        build_program(given.abi, given.system, [library], [HERE / "start.c", HERE / "caller.c"], app / "caller")
        build_program(given.abi, given.system, [library], [HERE / "start.c", native / "fuzz.c"], app / "fuzz")
        with mounted(root):
            print(f"{given.abi}, {'emulated' if userland.emulator else 'native'}")
            version, opened = userland.run("/app/caller", *python, VERSION, OPEN)
            assert version["result"]["api"] >= 1, version
            print("version:", json.dumps(version["result"]))
            assert opened["error"]["data"]["kind"] == "wrong_use" and "numpy" in opened["error"]["message"], opened
            print("open:", opened["error"]["message"])
            (counted,) = userland.run("/app/fuzz", *python, str(given.calls), "1")
            assert counted["broken"] == counted["failed"] == 0, counted
            print("fuzz:", json.dumps(counted))
            if given.onnxruntime:
                print("training step:", json.dumps(step(given, app, userland)))


def step(given, app: Path, userland: Userland) -> dict:
    """A training step recorded on this machine, on Android's ONNX Runtime."""
    subprocess.run([sys.executable, str(HERE / "record.py"), str(given.model), str(app / "step")], check=True)
    shutil.copy(HERE / "replay.py", app)
    build_program(
        given.abi, given.system, [app / "libpython3.11.so"], [HERE / "start.c", HERE / "python.c"], app / "python3"
    )
    (found,) = userland.run("/app/python3", "/app/replay.py", "/app/libonnxruntime.so", "/app/step")
    assert found["largest_difference"] <= LARGEST_DIFFERENCE, found
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", type=Path)
    parser.add_argument("--python-target", type=Path)
    parser.add_argument("--abi", choices=CLANG, default=NATIVE.get(platform.machine(), "arm64-v8a"))
    parser.add_argument("--onnxruntime", type=Path, help="onnxruntime-android's AAR; without it no training step")
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    parser.add_argument("--calls", type=int, default=100_000)
    given = parser.parse_args()
    try:
        if not (given.system and (given.system / "bin" / "linker64").exists()):
            raise NotRun("name an Android system tree (ANDROID_SYSTEM=DIR with bin/linker64)")
        if not given.python_target:
            raise NotRun("name the folder of com.chaquo.python:target (PYTHON_TARGET=DIR)")
        if os.geteuid():
            raise NotRun("a chroot needs root")
        check(given)
    except NotRun as why:
        print(f"The Android userland test did not run: {why}.")


if __name__ == "__main__":
    main()
