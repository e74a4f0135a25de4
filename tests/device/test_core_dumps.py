"""No core dump of a process that holds the user's words, and encrypted adapters load in it all the same."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's /proc")

GET_DUMPABLE = 3
NOBODY = 65534


def allow_core_dumps():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def core_limit(pid) -> str:
    """Of a running process."""
    text = Path(f"/proc/{pid}/limits").read_text()
    return next(line for line in text.splitlines() if "core file size" in line).split()[4]


def crashed(command, folder, ready) -> tuple[int, str]:
    """The wait status of a program that a fault ends after it has printed `ready`, and its limit before."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, preexec_fn=allow_core_dumps, env=os.environ
    )
    assert ready in process.stdout.readline()
    limit = core_limit(process.pid)
    os.kill(process.pid, signal.SIGSEGV)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -signal.SIGSEGV
    assert os.WTERMSIG(status) == signal.SIGSEGV
    return status, limit


@pytest.mark.slow
def test_a_server_that_crashes_leaves_no_core(tmp_path, home, tiny_path):
    command = [sys.executable, "-m", "idletune.commands.cli", "serve", "--model", tiny_path]
    command += ["--socket", tmp_path / "run" / "socket", "--home", home]
    status, limit = crashed(list(map(str, command)), tmp_path, "serving on")
    assert not os.WCOREDUMP(status) and limit == "0" and not list(tmp_path.glob("core*"))


def test_another_program_does_leave_one_here(tmp_path):
    """So the test above can fail."""
    code = "import time; print('ready', flush=True); time.sleep(600)"
    status, _ = crashed([sys.executable, "-c", code], tmp_path, "ready")
    if not os.WCOREDUMP(status):
        pytest.skip("this system writes no core dumps anyway")


IN_ONE_PROCESS = """
import ctypes, os, shutil, sys
from pathlib import Path
from idletune.commands.cli import main
from idletune.state.files import Files
from idletune.state.store import Store

def flag():
    return ctypes.CDLL(None).prctl({get})

def life(home):
    with Store(home, key=b"k" * 32) as store:
        (home / "adapters").mkdir()
        path = home / "adapters" / "v1.gguf"
        Files(store).write(path, b"what it learned")
        with Files(store).readable(path) as readable:
            return readable.read_bytes() == b"what it learned" and str(readable)

folder = Path(sys.argv[1])
life(folder / "first")  # all is loaded while the files of Python can be read
if os.getuid() == 0:
    shutil.chown(folder, {nobody}, {nobody})
    os.setgroups([])
    os.setgid({nobody})
    os.setuid({nobody})
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as after a start as that user
print(flag(), os.getuid() != 0, os.stat("/proc/self/fd").st_uid == os.getuid())
try:
    main(["--version"])
except SystemExit:
    pass
print(flag(), life(folder / "second"), os.stat("/proc/self/fd").st_uid == os.getuid())
"""


def test_an_encrypted_adapter_loads_in_it_for_a_user_who_is_not_root():
    code = IN_ONE_PROCESS.format(get=GET_DUMPABLE, nobody=NOBODY)
    with tempfile.TemporaryDirectory() as folder:  # where another user can get to
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, *_, after = done.stdout.strip().splitlines()
    assert before == "1 True True"  # an ordinary process owns its own entries
    dumpable, path, owns = after.split()
    assert dumpable == "0" and path.startswith("/proc/self/fd/") and owns == "False"
