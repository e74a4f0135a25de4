"""The adb target against a stand-in for adb. No phone was used."""

import json
import signal
import subprocess
import sys

import pytest
from idletune.errors import UsageError
from stand_in_adb import make_device

from benchmarks.latency.__main__ import push_program, run_job
from benchmarks.latency.adb import Adb
from benchmarks.latency.targets import ARM64, ROOT, arm64_python, arm64_variables

pytestmark = pytest.mark.slow

SERIAL = "stand-in-5554"


@pytest.fixture
def device(tmp_path):
    folder = tmp_path / "phone"
    make_device(folder, [sys.executable])
    return folder


@pytest.fixture
def target(device):
    return Adb(SERIAL, str(device / "adb"))


def untouched(device):
    return not (device / "made_up").exists() and not (device / "idle").exists()


def test_measures_through_adb(device, target, tiny_model_folder, tmp_path):
    target.prepare()
    assert target.emulated, "the device says that it is an emulator"
    there = push_program(target, {"tiny": tiny_model_folder / "tiny.gguf"})
    with target.quiet():
        assert "level=80" in (device / "made_up").read_text() and (device / "idle").exists()
        result = run_job(target, there["tiny"], ["serving"], 1, 1, tmp_path)
    assert untouched(device)
    assert result["measures"]["first token"]["values"][0] > 0 and result["peak_mb"]["serving"] > 20
    assert not list((device / "data/local/tmp/idletune-latency").iterdir()), "the passage is cleared"


def test_says_what_it_is(target):
    about = target.describe()
    assert about["sdk"] == "35" and about["abi"] == "arm64-v8a" and about["thermal_status"] == 0
    assert about["battery"] == {"status": 2, "level": 63, "temperature": 291, "plugged": ["USB"]}


def test_arguments_reach_the_device_unchanged(device, target):
    hostile = 'a b\'; touch $HOME/x "$(id)" \\ *'
    assert target._termux(["python3", "-c", "import sys; print(sys.argv[1])", hostile]).rstrip("\n") == hostile
    assert not (device / "data/data/com.termux/files/home/x").exists()


@pytest.mark.parametrize(
    "trouble, step",
    [
        ("offline", "adb reconnect"),
        ("unauthorized", "allow this computer's key"),
        ("full", "free some storage"),
    ],
)
def test_troubles_name_the_next_step(device, target, trouble, step, tmp_path):
    (device / "trouble").write_text(trouble)
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(UsageError, match=step):
        target.push(tmp_path / "job.json", "job.json") if trouble == "full" else target.prepare()


def test_an_unknown_serial(device):
    with pytest.raises(UsageError, match="not found.*adb devices"):
        Adb("other", str(device / "adb")).prepare()


def test_no_adb_at_all(tmp_path):
    with pytest.raises(UsageError, match="not installed"):
        Adb(SERIAL, str(tmp_path / "adb")).prepare()


def test_a_missing_package_stops_before_anything_is_copied(device, target):
    python = device / "data/data/com.termux/files/usr/bin/python3"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'onnxruntime'\" >&2\nexit 1\n")
    with pytest.raises(UsageError, match="onnxruntime"):
        target.prepare()


def test_killed_on_the_way(device, target, tmp_path):
    """The measuring program is killed: the state is given back, no result is taken for one."""
    target.prepare()
    target.push(ROOT / "benchmarks" / "latency" / "on_target.py", "on_target.py")
    (device / "trouble").write_text("killed")
    with pytest.raises(UsageError, match="137.*Termux open"), target.quiet():
        run_job(target, "none.gguf", ["serving"], 1, 1, tmp_path)
    assert untouched(device)


def test_a_lost_connection_says_how_to_give_the_state_back(device, target, tmp_path, capsys):
    target.prepare()
    (device / "trouble").write_text("lost")
    with pytest.raises(UsageError, match="255|offline"), target.quiet():
        run_job(target, "none.gguf", ["serving"], 1, 1, tmp_path)
    assert "dumpsys battery reset; dumpsys deviceidle unforce" in capsys.readouterr().out
    (device / "trouble").write_text("")
    with target.quiet():  # the next run begins with the real state
        pass
    assert untouched(device)


def test_ended_by_a_signal(device):
    """A terminated benchmark gives the state back as well."""
    code = (
        "import sys, time; from benchmarks.latency.adb import Adb\n"
        f"with Adb({SERIAL!r}, sys.argv[1]).quiet(): print('in', flush=True); time.sleep(600)"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(device / "adb")], cwd=ROOT, stdout=subprocess.PIPE)
    assert running.stdout.readline() == b"in\n" and (device / "made_up").exists()
    running.send_signal(signal.SIGTERM)
    running.wait(120)
    assert untouched(device)


@pytest.mark.skipif(not (ARM64 / ".llama_cpp").exists(), reason="make bench-latency TARGET=qemu-aarch64 sets it up")
def test_arm64_python_behind_adb(tmp_path):
    folder = tmp_path / "arm"
    python, variables = arm64_python(ARM64), arm64_variables(ARM64, tmp_path)
    wanted = {name: variables[name] for name in ("PYTHONHOME", "PYTHONPATH", "PATH")}
    target = Adb(SERIAL, str(make_device(folder, python, wanted)))
    target.prepare()
    script = tmp_path / "ask.py"
    script.write_text("import json, platform, sys; json.dump(platform.machine(), open(sys.argv[1], 'w'))")
    there = target.push(script, "ask.py")
    target.run([there, there.replace("ask.py", "result.json")])
    target.pull("result.json", tmp_path / "told.json")
    assert json.loads((tmp_path / "told.json").read_text()) == "aarch64"
