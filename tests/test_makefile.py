"""Make's set-up on a machine that lacks something, with stand-ins for the programs that look and install."""

import re
import shutil
import subprocess

import pytest
from building import ROOT, need

TOOLS = ("cmake", "cc", "clang", "ld.lld", "javac", "mvn", "readelf")


@pytest.fixture
def machine(tmp_path):
    """A machine with a shell and the named programs alone; `machine(*command, name=body)` runs a command on it."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name in ("sh", "sed", "rm", "touch", "mkdir"):
        (commands / name).symlink_to(shutil.which(name))

    def run(*command, **programs: str) -> subprocess.CompletedProcess:
        for name, body in programs.items():
            program = commands / name.replace("_", "-")
            program.write_text(f'#!/bin/sh\necho "{program.name} $*" >> {tmp_path}/calls\n{body}\n')
            program.chmod(0o755)
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={"PATH": str(commands)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    run.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    return run


def make(*arguments) -> list[str]:
    need("make")
    return [shutil.which("make"), "-f", str(ROOT / "Makefile"), "--no-print-directory", *arguments]


def test_an_environment_that_fails_half_way_is_not_taken_for_done(machine, tmp_path):
    half = 'mkdir -p .venv/bin; touch .venv/bin/python; echo "apt install python3-venv"; exit 1'
    done = machine(*make(".venv/bin/python"), python3=half)
    assert done.returncode and "apt install python3-venv" in done.stdout
    assert not (tmp_path / ".venv").exists()
    assert machine(*make(".venv/bin/python"), python3="mkdir -p .venv/bin; touch .venv/bin/python").returncode == 0


@pytest.mark.parametrize("known, jdk", [("echo Package: x", "openjdk-17-jdk-headless"), ("", "default-jdk-headless")])
def test_the_jdk_that_this_system_has_is_installed(machine, known, jdk):
    done = machine(ROOT / "scripts" / "need_bridge_tools.sh", id="echo 0", apt_get="", apt_cache=known)
    assert done.returncode == 0, done.stdout
    assert machine.calls()[-1].endswith(f"cmake gcc clang lld {jdk} maven binutils")


def test_the_browser_is_installed_where_there_is_none(machine):
    done = machine(ROOT / "scripts" / "need_browser.sh", id="echo 0", apt_get="")
    assert done.returncode == 0, done.stdout
    assert machine.calls()[-1].endswith("--no-install-recommends chromium")
    assert "apt install chromium" in machine(ROOT / "scripts" / "need_browser.sh", id="echo 1000").stdout


def test_a_browser_that_is_there_is_used(machine):
    assert machine(ROOT / "scripts" / "need_browser.sh", chromium="").returncode == 0


def test_the_bridge_is_not_taken_for_done_without_its_tools(machine, tmp_path):
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    done = machine(*make(".venv/.bridge"), id="echo 1000")
    assert done.returncode and "not built without: cmake gcc clang lld" in done.stdout
    assert not (tmp_path / ".venv" / ".bridge").exists()


def test_the_tests_go_on_without_the_bridge(machine, tmp_path):
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in (".runtime", ".test", "bin/python"):
        (tmp_path / ".venv" / name).write_text("#!/bin/sh\necho tested $*\n")
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    (tmp_path / ".cache" / "models").mkdir(parents=True)
    (tmp_path / ".cache" / "models" / "smollm2-135m-instruct-q4_1.gguf").touch()
    (tmp_path / "pyproject.toml").touch()
    done = machine(*make("-o", ".venv/.runtime", "-o", ".venv/.test", "test"), id="echo 1000")
    assert done.returncode == 0 and "are left out" in done.stdout and "tested -m pytest tests" in done.stdout


@pytest.mark.parametrize(
    "model, name",
    [
        ("smollm2-135m", "smollm2-135m"),
        ("models/tiny.gguf", "tiny"),
        ("models/tiny/", "tiny"),
        ("Qwen/Qwen2.5-0.5B", "Qwen2.5-0.5B"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen2.5-0.5B-Instruct"),
    ],
)
def test_each_model_has_a_bundle_of_its_own(machine, model, name):
    pushed = machine(*make("--dry-run", "push", f"MODEL={model}", "TARGET=adb:1")).stdout
    assert pushed.split() == ["scripts/push.sh", f"dist/phone/{name}", '"adb:1"']
    made = machine(*make("-C", str(ROOT), "--dry-run", "artifacts", f"MODEL={model}")).stdout
    assert f"bundle {model} -o dist/phone/{name}\n" in made


def test_the_converters_are_of_the_version_of_the_engine():
    pinned = re.search(r"llama-cpp-python==([\d.]+)", (ROOT / "pyproject.toml").read_text())[1]
    for path in ("Makefile", "export/idletune_export/llama_cpp_converter.py", "tests/families/made.py"):
        assert set(re.findall(r"llama\.cpp-(\d[\d.]*\d)", (ROOT / path).read_text())) == {pinned}, path
    assert f'VERSION = "{pinned}"' in (ROOT / "scripts" / "fetch_llama_cpp.py").read_text()
