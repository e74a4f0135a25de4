"""Processes that may not make a socket, each with its own ONNX Runtime, and that live on after their last session.

The kernel enforces it (seccomp: the first socket call of any thread kills the process), for Python and for the native
libraries alike. ONNX Runtime's uploader starts some seconds after the first session; so each process waits SECONDS,
and a test that comes late looks at what became of it. As a program: python silent.py WHAT FOLDER [LIBRARY].
"""

import ctypes
import os
import platform
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# ONNX Runtime sends nothing where one of these says that it runs in continuous integration: left out, so that the
# processes are those of a user.
CONTINUOUS_INTEGRATION = (
    "CI", "APPVEYOR", "BUILDKITE", "CIRCLECI", "CODEBUILD_BUILD_ID", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL",
    "TEAMCITY_VERSION", "TF_BUILD", "TRAVIS",
)  # fmt: skip
OLDEST = "1.23.0"  # pyproject.toml's
KINDS = "loop", "library", "oldest", "on"
SECONDS, PATIENCE = 60, 600  # after the last session; for a process on a busy machine
NO_NETWORK = 77
# socket, connect, sendto, socketpair, io_uring_setup (which can make sockets too)
SOCKET_CALLS = {"x86_64": (41, 42, 44, 53, 425), "aarch64": (198, 203, 206, 199, 425)}
SENDING = 2  # where sendto stands: a server sends its answers with it
SECCOMP = {"x86_64": 317, "aarch64": 277}
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, ALL_THREADS = 38, 1, 1
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF: a word of the call's data; jump if equal; return
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000


class Silent:
    """The processes, by what they do.

    `loop`: everything, with the package onnxruntime. `library`: a training graph on its C library. `oldest`: the same
    on the oldest version supported. `on`: the same on the installed one, its telemetry switched on again.
    """

    def __init__(self, place: Path, model: Path, library: str):
        self._processes = {}
        for kind in KINDS:
            folder = place / kind
            folder.mkdir()
            (folder / "model.gguf").write_bytes(model.read_bytes())
            self._processes[kind] = subprocess.Popen(
                [sys.executable, __file__, kind, str(folder), *([library] if kind == "library" else [])],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={name: value for name, value in os.environ.items() if name not in CONTINUOUS_INTEGRATION},
            )

    def ended(self, kind: str) -> tuple[int, str]:
        """Exit code (negative: a signal's) and what was printed, once the process has ended."""
        process = self._processes[kind]
        printed, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, printed

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


def deny_sockets(but_sending: bool = False) -> None:
    """From now on the first such call of any thread ends the process."""
    calls = [call for i, call in enumerate(SOCKET_CALLS[platform.machine()]) if not (but_sending and i == SENDING)]
    code = [(LOAD, 0, 0, 0)]  # the number of the system call
    code += [(EQUAL, len(calls) - i, 0, number) for i, number in enumerate(calls)]
    code += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, KILL_PROCESS)]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = Program(len(code), ctypes.addressof(packed))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    seccomp = SECCOMP[platform.machine()]
    assert libc.syscall(seccomp, SET_MODE_FILTER, ALL_THREADS, ctypes.byref(program)) == 0, ctypes.get_errno()


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def everything(folder: Path) -> None:
    """Every module of the runtime, the libraries that are loaded late, and the whole loop."""
    import importlib
    import pkgutil

    import idletune
    from idletune.commands.cli import main
    from idletune.runtime import Runtime
    from loop import SETTINGS, answer_all, observe

    for module in pkgutil.walk_packages(idletune.__path__, "idletune."):
        importlib.import_module(module.name)
    for name in ("cryptography", "faiss", "llama_cpp", "matplotlib.pyplot", "onnxruntime"):
        importlib.import_module(name)
    assert main(["simulate", "--days", "2", "--picture", str(folder / "month.png")]) == 0
    home = folder / "home"
    with Runtime(home, folder / "model.gguf", SETTINGS, sequences=2) as runtime:
        runtime.chat("hello, who is there?")
        observe(runtime, 8)
        answer_all(runtime)
        assert runtime.learn().verdict.promoted
        runtime.chat("and now?")
        runtime.rotate_key(b"k" * 32)
        runtime.chat("and with a key?")
        runtime.forget(2)
        runtime.status()
    assert main(["erase", "--home", str(home), "--yes"]) == 0


def one_graph(model: Path) -> None:
    """A matrix of the model is unpacked, as in training."""
    import numpy as np
    from idletune.formats.gguf_file import GgufFile
    from idletune.onnx_runtime.dequantizer import Dequantizer

    file, name = GgufFile(model), "blk.0.ffn_up.weight"
    tensor = file.tensors[name]
    Dequantizer(1).dequantize(file.raw(name), tensor.type, np.empty(tensor.shape, np.float32))


def install_oldest(folder: Path) -> None:
    """Put the oldest supported version before the installed one. Ends the process where none can be had."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "packages")]
    if subprocess.run([*command, f"onnxruntime=={OLDEST}"]).returncode:
        sys.exit(NO_NETWORK)
    sys.path.insert(0, str(folder / "packages"))


def traces(cache: Path) -> list[str]:
    """What telemetry would have left: files in the cache, open sockets."""
    opened = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    found = [str(path) for path in cache.rglob("*") if "onnxruntime" in str(path)]
    return found + [name for name in opened if name.startswith("socket:")]


def main(kind: str, folder: Path, library: str = "") -> None:
    if kind == "oldest":
        install_oldest(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.environ.pop("ORT_DISABLE_TELEMETRY", None)
    deny_sockets()
    import idletune  # noqa: F401

    if library:
        os.environ["IDLETUNE_ONNXRUNTIME"] = library
    if kind == "on":  # what the others would do without the switch
        del os.environ["ORT_DISABLE_TELEMETRY"]
    everything(folder) if kind == "loop" else one_graph(folder / "model.gguf")
    onnxruntime = sys.modules.get("onnxruntime")
    print("version", onnxruntime.__version__ if onnxruntime else "of the library", flush=True)
    time.sleep(SECONDS)
    print("left", traces(folder / "cache"))


if __name__ == "__main__":
    sys.path[:0] = [str(HERE)]
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
