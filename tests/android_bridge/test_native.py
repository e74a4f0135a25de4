"""The C library on this machine: what it answers, and that nothing a caller does can break it."""

import json
import re
import sys

import pytest
from building import run

CALLS = 4000  # make fuzz-bridge makes a million
PYTHONS_OWN = ("libpython", "site-packages", "lib-dynload", "libcrypto", "libssl")  # kept until the process ends


def fuzzed(folder, embedded, calls, seed=1, **variables) -> dict:
    command = [folder / "fuzz", embedded["LIBPYTHON"], "", embedded["PYTHONPATH"], calls, seed]
    printed = run(command, OMP_NUM_THREADS="1", **variables)
    return json.loads(printed.splitlines()[-1])


def test_calls_of_every_kind_from_eight_threads(native, embedded):
    counted = fuzzed(native(), embedded, CALLS)
    assert counted["broken"] == counted["failed"] == 0
    assert counted["answers"] > CALLS / 4 and counted["no_handle"] > 0


def test_the_sanitizers_find_nothing(native, embedded, tmp_path):
    leaks = tmp_path / "leaks.txt"
    leaks.write_text("".join(f"leak:{name}\n" for name in PYTHONS_OWN))
    counted = fuzzed(
        native("-DSANITIZE=ON"),
        embedded,
        CALLS // 2,
        seed=2,
        ASAN_OPTIONS="detect_leaks=1",
        LSAN_OPTIONS=f"suppressions={leaks}:print_suppressions=0",
    )
    assert counted["broken"] == counted["failed"] == 0


def test_it_needs_the_c_library_alone_and_exports_its_interface_alone(native):
    library = native() / "libidletune.so"
    needed = re.findall(r"NEEDED.*\[(.*?)\]", run(["readelf", "-d", library]))
    assert set(needed) <= {"libc.so.6", "libdl.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    symbols = [line.split()[-1] for line in run(["nm", "-D", "--defined-only", library]).splitlines()]
    assert symbols and all(name.startswith(("idletune_", "Java_io_idletune_Native_")) for name in symbols)


@pytest.mark.parametrize(
    "library, problem",
    [
        ("/none/libpython.so", "/none/libpython.so"),
        ("libc.so.6", "Py_IsInitialized"),
    ],
)
def test_a_library_that_is_no_python_is_named(native, library, problem):
    with pytest.raises(AssertionError, match=f"not started: .*{problem}"):
        run([native() / "fuzz", library, "", "", 8, 1])


def test_a_home_that_is_not_there_is_told_before_python_ends_the_process(native, embedded, tmp_path):
    with pytest.raises(AssertionError, match="not started: the folder for PYTHONHOME does not exist"):
        run([native() / "fuzz", embedded["LIBPYTHON"], tmp_path / "none", "", 8, 1])


def test_a_missing_package_is_named(native, embedded, tmp_path):
    with pytest.raises(AssertionError, match="not started: No module named 'idletune'"):
        run([native() / "fuzz", embedded["LIBPYTHON"], "", tmp_path, 8, 1])


SILENT_AND_UNDUMPED = """
import ctypes, sys
library, handle, libc = ctypes.CDLL(sys.argv[1]), ctypes.c_int64(), ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
print(libc.prctl(3), libc.getenv(b"ORT_DISABLE_TELEMETRY"))
assert library.idletune_create(None, None, None, ctypes.byref(handle)) == 0
limit = next(line for line in open("/proc/self/limits") if "core file size" in line).split()[4]
print(libc.prctl(3), libc.getenv(b"ORT_DISABLE_TELEMETRY"), limit)
"""


def test_a_process_that_uses_it_sends_no_telemetry_and_leaves_no_core_dump(native, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    printed = run([sys.executable, "-c", SILENT_AND_UNDUMPED, native() / "libidletune.so"])
    assert printed.splitlines() == ["1 None", "0 b'1' 0"]
