"""Nothing leaves the device: the whole loop runs in a process that may not make a socket.

The kernel enforces it (seccomp: the first socket call kills the process), for Python and for the
native libraries alike. Run as a program, this file is that process.
"""

import ctypes
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

SOCKET_CALLS = {"x86_64": (41, 42, 44, 53), "aarch64": (198, 203, 206, 199)}  # socket, connect, sendto, socketpair
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF: a word of the call's data; jump if equal; return
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def deny_sockets():
    calls = SOCKET_CALLS[platform.machine()]
    code = [(LOAD, 0, 0, 0)]  # the number of the system call
    code += [(EQUAL, len(calls) - i, 0, number) for i, number in enumerate(calls)]
    code += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, KILL_PROCESS)]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = Program(len(code), ctypes.addressof(packed))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()


def whole_loop(home, model):
    from idletune.commands.cli import main
    from idletune.runtime import Runtime
    from loop import SETTINGS, answer_all, observe

    with Runtime(home, model, SETTINGS, sequences=2) as runtime:
        runtime.chat("hello, who is there?")
        observe(runtime, 8)
        answer_all(runtime)
        assert runtime.learn().verdict.promoted
        runtime.chat("and now?")
        runtime.rotate_key(b"k" * 32)
        runtime.forget(2)
        runtime.status()
    assert main(["erase", "--home", str(home), "--yes"]) == 0


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in SOCKET_CALLS, reason="needs Linux's seccomp")
@pytest.mark.parametrize("what", ["loop", "socket"])
def test_the_whole_loop_makes_no_socket(tmp_path, tiny_path, tiny_graphs, what):
    model = tmp_path / "model.gguf"
    model.write_bytes(tiny_path.read_bytes())
    (tmp_path / "training").symlink_to(tiny_graphs.folder)
    command = [sys.executable, __file__, str(tmp_path / "home"), str(model), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if what == "loop":
        assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stderr
    else:  # the same process dies if it does make one
        assert done.returncode == -31 and "done" not in done.stdout  # SIGSYS


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]
    deny_sockets()
    if sys.argv[3] == "socket":
        import socket

        socket.socket()
    whole_loop(Path(sys.argv[1]), Path(sys.argv[2]))
    print("done")
