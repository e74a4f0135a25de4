"""ONNX Runtime's telemetry: nothing imports around the switch, what cannot be switched off is refused, its files go."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from idletune import telemetry
from idletune.commands.cli import main
from idletune.errors import UsageError
from idletune.runtime import Runtime

ROOT = Path(__file__).parents[2]
OURS = ("idletune", "idletune_export")  # packages whose import switches telemetry off
FOLDER = Path("Microsoft") / "DeveloperTools" / ".onnxruntime"
ENDPOINT, SWITCH = b"https://mobile.events.data.microsoft.com/", b"ORT_DISABLE_TELEMETRY"


def programs():
    folders = ("device", "export", "benchmarks", "android_bridge", "tests", "scripts")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(node) -> list[str]:
    """The top packages that a statement imports, `from .x` not among them."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    return [node.module.split(".")[0]] if isinstance(node, ast.ImportFrom) and not node.level else []


def imports_around(source: str, inside_ours: bool) -> list[str]:
    """Lines that import onnxruntime where no import of the module has switched its telemetry off before."""
    tree, found = ast.parse(source), []
    switched = [node.lineno for node in tree.body if set(imported(node)) & set(OURS)]
    for node in ast.walk(tree):
        by_hand = isinstance(node, ast.Constant) and isinstance(node.value, str) and _code_imports(node.value)
        if "onnxruntime" in imported(node) and not inside_ours and not any(line < node.lineno for line in switched):
            found.append(f"line {node.lineno} imports onnxruntime before idletune")
        elif by_hand:
            found.append(f"line {node.lineno} holds a program that does")
    return found


def _code_imports(text: str) -> bool:
    """Whether a string is a program that imports onnxruntime without idletune; the switch itself is set before."""
    try:
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    except (SyntaxError, ValueError):
        return False
    names = [name for node in nodes for name in imported(node)]
    if "ORT_DISABLE_TELEMETRY" in text.partition("onnxruntime")[0]:
        return False
    return "onnxruntime" in names and not set(OURS) & set(names[: names.index("onnxruntime")])


@pytest.mark.slow
def test_nothing_imports_onnxruntime_around_the_switch():
    found = {}
    for path in set(programs()) - {Path(__file__)}:
        inside = any(f"/{name}/" in str(path) for name in OURS)
        if around := imports_around(path.read_text(encoding="utf-8"), inside):
            found[str(path.relative_to(ROOT))] = around
    assert not found


def test_the_runtime_imports_it_in_one_place():
    importing = [
        path.name
        for path in sorted((ROOT / "device").rglob("*.py"))
        if any("onnxruntime" in imported(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    ]
    assert importing == ["telemetry.py"]


@pytest.mark.parametrize(
    "source",
    [
        "import onnxruntime",
        "def f():\n    from onnxruntime.quantization import x",
        "import onnxruntime\nimport idletune",
        "run('import numpy, onnxruntime')",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert imports_around(source, inside_ours=False)
    assert not imports_around("import idletune\nimport onnxruntime", inside_ours=False)


def told(code: str, **variables) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**environment, **variables}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["idletune", "idletune.settings", "idletune_export", "idletune.rpc"])
@pytest.mark.parametrize("before", ["", "0"])
def test_every_import_sets_the_switch_for_native_code_too(module, before):
    code = (
        f"import {module}, ctypes; libc = ctypes.CDLL(None); libc.getenv.restype = ctypes.c_char_p\n"
        "print(libc.getenv(b'ORT_DISABLE_TELEMETRY').decode())"
    )
    assert told(code, ORT_DISABLE_TELEMETRY=before) == "1"


IMPORTED_BEFORE = """
import onnxruntime, idletune.errors
try:
    import idletune.onnx_runtime.session
    print("taken")
except idletune.errors.UsageError as error:
    print(error)
"""
LIBRARY_BEFORE = """
import ctypes
ctypes.CDLL({library!r})
import idletune.errors
from idletune.onnx_runtime.c_library import load_library
try:
    load_library({library!r})
    print("taken")
except idletune.errors.UsageError as error:
    print(error)
"""


@pytest.fixture
def with_telemetry():
    import onnxruntime

    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < telemetry.FIRST_WITH_TELEMETRY:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} has no telemetry")
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    return str(library)


@pytest.mark.slow
def test_what_the_host_loaded_before_is_refused_unless_it_was_silent(with_telemetry):
    for code in (IMPORTED_BEFORE, LIBRARY_BEFORE.format(library=with_telemetry)):
        assert "was loaded before idletune, with its telemetry on; import idletune first" in told(code)
        assert "was loaded before" in told(code, ORT_DISABLE_TELEMETRY="0")
        assert told(code, ORT_DISABLE_TELEMETRY="1") == told(code, ORT_DISABLE_TELEMETRY="Yes") == "taken"


def test_a_library_may_be_loaded_by_another_name_of_its_file(with_telemetry, tmp_path):
    (tmp_path / "another.so").symlink_to(with_telemetry)
    code = (
        "from idletune.onnx_runtime.c_library import load_library\n"
        f"print(load_library({with_telemetry!r}).version == load_library({str(tmp_path / 'another.so')!r}).version)"
    )
    assert told(code) == "True"


@pytest.mark.parametrize(
    "version, content, refused",
    [
        ("1.23.0", ENDPOINT, False),
        ("1.32.0", ENDPOINT + SWITCH, False),
        ("1.33.0", ENDPOINT + SWITCH, False),
        ("1.33.0", b"no uploader", False),
        ("1.33.0", ENDPOINT + b"ORT_OTHER_SWITCH", True),
        ("2.0.0", ENDPOINT, True),
        ("unknown", ENDPOINT, True),
        ("1.40.1", b"", True),
        ("1.40.1", None, True),
    ],
)
def test_a_version_whose_telemetry_cannot_be_switched_off_is_refused(tmp_path, version, content, refused):
    library = tmp_path / "library.so"
    if content is not None:
        library.write_bytes(b"\x7fELF" + content if content else b"")
    if not refused:
        telemetry.check(version, library, loaded_by_host=False)
    else:
        with pytest.raises(UsageError, match=f"{version} may send telemetry.*install onnxruntime<=1.32"):
            telemetry.check(version, library, loaded_by_host=False)


@pytest.fixture
def left(tmp_path):
    """A queue and a device id as ONNX Runtime leaves them."""
    folder = tmp_path / "cache" / FOLDER
    folder.mkdir(parents=True)
    for name in ("deviceid", "onnxruntime.db", "onnxruntime.db-wal"):
        (folder / name).write_text("when the user learns")
    return folder


def test_the_first_start_removes_what_an_earlier_version_left(left, home, tiny_path):
    Runtime(home, tiny_path).close()
    assert not (left.parents[1]).exists()
    left.mkdir(parents=True)
    (left / "deviceid").write_text("another program's")
    Runtime(home, tiny_path).close()
    assert (left / "deviceid").exists()


def test_erase_removes_it_and_nothing_else(left, home, tiny_path, capsys):
    Runtime(home, tiny_path).close()
    left.mkdir(parents=True)
    for name in ("deviceid", "onnxruntime.db", "mine"):
        (left / name).write_text("text")
    assert main(["erase", "--home", str(home), "--yes"]) == 0
    assert f"2 files that ONNX Runtime's telemetry once left in {left}" in capsys.readouterr().out
    assert [path.name for path in left.iterdir()] == ["mine"]


@pytest.mark.parametrize("linked", [0, 1, 2])
def test_no_link_is_followed(left, tmp_path, linked):
    """The folder, or one above it, leads elsewhere."""
    link = [left, *left.parents][linked]
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    assert telemetry.remove_files() == [] and (left / "deviceid").is_file()


def test_a_linked_file_goes_and_what_it_leads_to_stays(left, tmp_path):
    (tmp_path / "mine").write_text("text")
    (left / "deviceid").unlink()
    (left / "deviceid").symlink_to(tmp_path / "mine")
    (left / "onnxruntime.db").unlink()
    (left / "onnxruntime.db").mkdir()
    assert [path.name for path in telemetry.remove_files()] == ["deviceid", "onnxruntime.db-wal"]
    assert (tmp_path / "mine").read_text() == "text" and (left / "onnxruntime.db").is_dir()
