"""The attack itself: its shim kills where it should, its damage is seeded, and a few cases of each part run."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from attack import cases, mutators  # noqa: E402
from attack.found import Clock, Found  # noqa: E402
from idletune.errors import DamagedDataError  # noqa: E402

CHANGES = """
import ctypes, os, sys
folder, n, moment = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
open(folder + "beside", "w").write("not counted")
ctypes.CDLL(None).kill_shim_arm(folder.encode(), ctypes.c_long(n), moment, -1)
open(folder + "beside", "w").write("not counted")
with open(folder + "/a", "wb", buffering=0) as file:
    file.write(b"0123456789")
    os.fsync(file.fileno())
os.rename(folder + "/a", folder + "/b")
os.unlink(folder + "/b")
print(ctypes.CDLL(None).kill_shim_count())
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if sys.platform != "linux" or not compiler:
        pytest.skip("the shim is C for Linux")
    made = tmp_path_factory.mktemp("shim") / "kill_shim.so"
    source = ROOT / "benchmarks" / "attack" / "kill_shim.c"
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", str(made), str(source), "-ldl"], check=True)
    return made


@pytest.mark.parametrize(
    "n, moment, left",
    [
        (0, 0, {}),  # no kill
        (1, 0, {"a": b""}),
        (1, 2, {"a": b"01234"}),  # half of the write
        (1, 1, {"a": b"0123456789"}),
        (3, 0, {"a": b"0123456789"}),
        (3, 1, {"b": b"0123456789"}),
        (4, 1, {}),
    ],
)
def test_the_shim_ends_the_process_at_the_nth_change(shim, tmp_path, n, moment, left):
    folder = tmp_path / "home"
    folder.mkdir()
    command = [sys.executable, "-c", CHANGES, str(folder), str(n), str(moment)]
    done = subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(shim)}, capture_output=True, text=True)
    assert done.returncode == (-signal.SIGKILL if n else 0), done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == left
    assert done.stdout == ("" if n else "4\n")


@pytest.mark.parametrize("damage", [mutators.damaged, mutators.damaged_json])
def test_damage_is_the_same_for_the_same_seed(damage):
    text = json.dumps({"a": [1, 2, {"b": "c"}], "d": None}).encode()
    made = [damage(text, random.Random(seed)) for seed in range(200)]
    assert made == [damage(text, random.Random(seed)) for seed in range(200)]
    assert len(set(made)) > 60 and sum(each == text for each in made) < 20


def refuse():
    raise DamagedDataError("refused in words")


@pytest.mark.slow
def test_crashes_hangs_and_other_errors_are_told_apart(tmp_path, monkeypatch):
    """For who waits, time passes while a case hangs, a second for each look at the clock, and at no other time."""
    hanging, now = tmp_path / "hanging", itertools.count()

    def crash():
        os.kill(os.getpid(), signal.SIGTRAP)

    def hang():
        hanging.write_text(str(os.getpid()))
        signal.pause()

    def hangs() -> bool:
        return hanging.exists() and Path(f"/proc/{hanging.read_text()}").exists()

    clock = SimpleNamespace(monotonic=lambda: float(next(now)) if hangs() else 0.0, sleep=time.sleep)
    monkeypatch.setattr(cases, "time", clock)
    works = [lambda: None, refuse, lambda: 1 / 0, crash, lambda: "odd", hang, refuse]
    found = Found()
    cases.run([cases.Case("kind", str(n), work) for n, work in enumerate(works)], 3.0, Clock(600), found, batch=4)
    outcomes = {"fine": 1, "DamagedDataError": 2, "uncaught": 1, "crash": 1, "wrong": 1, "hang": 1}
    assert found.outcomes == outcomes and found.cases["kind"] == len(works)
    assert [problem.split(":")[0] for problem in found.problems] == [f"kind, {n}" for n in (2, 3, 4, 5)]


PARTS = {"kills": 12, "mutations": 40, "foreign": 16, "clients": 1}


@pytest.mark.parametrize("part, count", PARTS.items())
def test_a_few_cases_of_each_part(shim, tmp_path, tiny_model_folder, part, count):
    """Of the thousands that `make attack` draws from; for marker words there are test_privacy.py and test_forget.py."""
    code = (
        "import importlib, sys; from pathlib import Path; sys.path[:0] = sys.argv[2:4]\n"
        "folder, part, count = Path(sys.argv[1]), importlib.import_module('attack.' + sys.argv[4]), int(sys.argv[5])\n"
        "found = part.attack(folder / 'place', folder / 'model' / 'tiny.gguf', 1, 600, count)\n"
        "print(sum(found.cases.values()) >= count, found.problems)\n"
    )
    (tmp_path / "model").mkdir()
    shutil.copy(tiny_model_folder / "tiny.gguf", tmp_path / "model")
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    places = [str(tmp_path), str(ROOT / "benchmarks"), str(ROOT / "tests")]
    command = [sys.executable, "-c", code, *places, part, str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.stdout == "True []\n", done.stdout + done.stderr
