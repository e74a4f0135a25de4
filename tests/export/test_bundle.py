"""A bundle from the tiny model, end to end: built, checked, installed, pushed, refused."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import llama_cpp
import pytest
from idletune.model.bundle import check_bundle
from idletune.runtime import Runtime
from idletune.settings import Settings
from idletune_export import bundle as bundle_module
from idletune_export.bundle import build_bundle
from idletune_export.cli import main
from idletune_export.sources import Source, find_source

PUSH = Path(__file__).parents[2] / "scripts" / "push.sh"


def build(tiny_path, target, say=lambda _: None, **constants):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in constants.items():
            patch.setattr(bundle_module, name, value)
        build_bundle(Source("tiny", tiny_path), target, say=say)
    return target


@pytest.fixture(scope="module")
def bundle(tiny_path, tmp_path_factory):
    return build(tiny_path, tmp_path_factory.mktemp("dist") / "phone" / "tiny")


def test_everything_is_there_and_vouched_for(bundle):
    manifest = check_bundle(bundle / "base.gguf")
    names = set(manifest["files"])
    assert {
        "base.gguf",
        "lexicons.json",
        "settings.json",
        "LICENSE-MODEL",
        "install-termux.sh",
    } < names
    assert sorted(p.name for p in bundle.parent.iterdir()) == ["tiny"]
    assert names == {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()} - {"manifest.json"}
    assert json.loads((bundle / "settings.json").read_text()) == {}  # the defaults are the program's
    assert manifest["shape"]["hidden"] == 64 and manifest["tools"]["onnxruntime"]
    assert manifest["parity"]["base.gguf"]["relative_logit_difference"] < 5e-2
    assert manifest["parity"]["training"]["gradient_error"] < 1e-4
    assert manifest["parity"]["training"]["int8_cosine"] > 0.9


def test_a_model_that_int8_leads_astray_trains_in_float32(tiny_path, tmp_path):
    said = []
    made = build(tiny_path, tmp_path / "tiny", say=said.append, LEAST_INT8_COSINE=1.1)
    assert json.loads((made / "settings.json").read_text()) == {"matmul_dtype": "float32"}
    assert any("float32 alone" in line for line in said) and check_bundle(made / "base.gguf")


def test_the_wheel_is_pure_python_and_carries_the_device(bundle):
    (wheel,) = bundle.glob("idletune-*-py3-none-any.whl")
    packed = {"commands/cli.py", "data/lexicons.json", "onnx_runtime/graphs/Q4_0.onnx"}
    assert {f"idletune/{name}" for name in packed} < set(zipfile.ZipFile(wheel).namelist())


def test_the_device_starts_from_it(bundle, home):
    with Runtime(home, bundle / "base.gguf", Settings(reply_tokens=4), sequences=1) as runtime:
        assert runtime.chat("hello").tokens
        assert runtime.trainer_loss([runtime.model.encode_text("bread")], None) > 0


def test_a_bundle_with_graphs_of_its_own_still_opens(bundle, home, tmp_path):
    """As earlier versions made them: its graphs are ignored, and its manifest says more of the shape."""
    earlier = shutil.copytree(bundle, tmp_path / "earlier")
    (earlier / "training").mkdir()
    (earlier / "training" / "shape.json").write_text("{}")
    manifest = json.loads((earlier / "manifest.json").read_text())
    manifest["shape"] |= {"heads": 4, "rms_eps": 1e-5}
    manifest["files"]["training/shape.json"] = {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    (earlier / "manifest.json").write_text(json.dumps(manifest))
    assert check_bundle(earlier / "base.gguf")
    with Runtime(home, earlier / "base.gguf", Settings(), sequences=1) as runtime:
        assert runtime.trainer_loss([runtime.model.encode_text("bread")], None) > 0


def refused(capsys, *arguments) -> str:
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("idletune-export: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


def test_bad_sources_and_targets_are_one_line(capsys, tmp_path, tiny_path, monkeypatch):
    assert "no model 'nothing'" in refused(capsys, "bundle", "nothing", "-o", tmp_path / "b")
    (tmp_path / "file").write_text("mine")
    assert "exists and is no bundle" in refused(capsys, "bundle", tiny_path, "-o", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert "cannot write" in refused(capsys, "bundle", tiny_path, "-o", tmp_path / "file" / "b")
    assert "cannot write" in refused(capsys, "bundle", tiny_path, "-o", "/proc/b")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "0 MB are free" in refused(capsys, "bundle", tiny_path, "-o", tmp_path / "b")
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    assert "run make model" in refused(capsys, "bundle", "smollm2-135m")


def test_a_failure_keeps_the_bundle_that_was_there(capsys, tmp_path, tiny_path, bundle, monkeypatch):
    target = shutil.copytree(bundle, tmp_path / "dist" / "b")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle_module, "check_training", full)
    before = (target / "manifest.json").read_bytes()
    assert "no room left" in refused(capsys, "bundle", tiny_path, "-o", target)
    assert (target / "manifest.json").read_bytes() == before
    assert [p.name for p in target.parent.iterdir()] == ["b"]


def test_a_hub_id_without_a_network_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot fetch nobody/nothing" in refused(capsys, "bundle", "nobody/nothing", "-o", tmp_path / "b")


def test_names_come_from_what_was_pointed_at(tiny_path):
    assert find_source(str(tiny_path)).name == "tiny"
    assert find_source(str(tiny_path.parent)).path == tiny_path.parent


def stand_in(folder: Path, name: str, body: str) -> None:
    """A command that writes down how it was called."""
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{folder}/calls"\n{body}\n')
    path.chmod(0o755)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_termux_gets_everything_that_llama_cpp_python_needs():
    script = (Path(__file__).parents[2] / "export" / "idletune_export" / "termux" / "install-termux.sh").read_text()
    needed = {re.match(r"[\w-]+", each).group() for each in requires("llama-cpp-python") if "extra ==" not in each}
    small = re.search(r"^pip install ([\w -]+)$", script, re.MULTILINE).group(1).split()
    assert needed - {"numpy"} <= set(small) and "python-numpy" in script


@pytest.mark.parametrize("llama_fits, starts", [(True, True), (True, False), (False, True)])
def test_the_termux_installer(bundle, tmp_path, llama_fits, starts):
    """With stand-ins for Termux's commands: what it installs, where it puts things, what it starts.

    Python and llama.cpp are the real ones; in a phone that llama.cpp does not fit, its library is missing.
    """
    commands, prefix, home = tmp_path / "commands", tmp_path / "usr", tmp_path / "home"
    commands.mkdir()
    (prefix / "bin").mkdir(parents=True)
    for name in ("pkg", "pip"):
        stand_in(commands, name, "exit 0")
    stand_in(commands, "idletune", "exit 0" if starts else "exit 2")
    stand_in(commands, "python", f'PYTHONPATH="{os.pathsep.join(sys.path)}" exec {sys.executable} "$@"')
    if llama_fits:
        (prefix / "lib").symlink_to(Path(llama_cpp.__file__).parent / "lib")
    environment = {"PATH": f"{commands}:/usr/bin:/bin", "PREFIX": str(prefix), "HOME": str(home)}
    done = subprocess.run(["sh", bundle / "install-termux.sh"], env=environment, capture_output=True, text=True)
    installed = home / ".local/share/idletune"
    assert check_bundle(installed / "bundle" / "base.gguf") and (installed / "settings.json").is_file()
    assert any(call.startswith("pkg install") and "python-onnxruntime" in call for call in calls(commands))
    assert any("llama-cpp-python==" in call and "@" not in call for call in calls(commands))
    if not llama_fits:
        assert done.returncode == 2 and "build the bundle with --onnx int4" in done.stderr
    elif not starts:
        assert done.returncode == 2 and done.stderr.endswith("IdleTune does not start; see the line above\n")
    else:
        assert done.returncode == 0, done.stderr
        launcher = prefix / "bin" / "idletune-chat"
        subprocess.run(["sh", launcher, "--set", "seed=1"], env=environment, check=True)
        started = f"idletune chat --model {installed}/bundle/base.gguf --backend llama.cpp --set seed=1"
        assert calls(commands)[-1] == started
        subprocess.run(["sh", launcher.with_name("idletune-phone"), "termux", "install"], env=environment, check=True)
        installed_jobs = f"idletune termux --model {installed}/bundle/base.gguf --backend llama.cpp install"
        assert calls(commands)[-1] == installed_jobs


def test_push_copies_with_adb(bundle, tmp_path):
    stand_in(tmp_path, "adb", "exit 0")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([PUSH, bundle, "adb:emulator-5554"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "install-termux.sh" in done.stdout
    assert calls(tmp_path)[-1] == f"adb -s emulator-5554 push {bundle} /sdcard/Download/idletune/tiny"
    for target, said in (("", "give adb:SERIAL"), ("ssh:phone", "give adb:SERIAL")):
        done = subprocess.run([PUSH, bundle, target], env=environment, capture_output=True, text=True)
        assert done.returncode == 2 and said in done.stderr
    assert json.loads((bundle / "manifest.json").read_text())["name"] == "tiny"
