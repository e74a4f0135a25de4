"""Imports go down only: each package of the runtime may import those below it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "device" / "idletune"
CORE = (  # modules at the top of the package that nothing but each other is below
    "errors", "settings", "dialogue", "examples", "words", "plain_text", "local_time", "clock", "small_files",
    "progress", "free_memory", "figure", "telemetry", "core_dumps", "labels", "__version__",
)  # fmt: skip
LAYERS = (
    CORE,
    ("state", "chat_files"),
    ("formats",),
    ("onnx_runtime",),
    ("model",),
    ("training", "conversation"),
    ("selection",),
    ("learning",),
    ("privacy", "takeout", "fleet"),
    ("schedule",),
    ("runtime",),
    ("replay", "simulation"),
    ("rpc",),
    ("web",),
    ("commands",),
)
LEVEL = {name: number for number, layer in enumerate(LAYERS) for name in layer}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Modules and folders of the package that a file imports, without those for type checkers alone."""
    tree, found, depth = ast.parse(path.read_text(encoding="utf-8")), set(), len(path.relative_to(PACKAGE).parts)
    hidden = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in hidden:
            continue
        if node.level == depth:  # from .. import x, from ..x import y
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif not node.level and node.module.split(".")[0] == "idletune" and "." in node.module:
            found.add(node.module.split(".")[1])
    return found


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_has_its_layer():
    names = {name_of(path) for path in SOURCES} - {"__init__"}
    assert names <= LEVEL.keys(), f"say in LAYERS where {sorted(names - LEVEL.keys())} belong"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    if name_of(path) == "__init__":
        return
    above = {name for name in imported(path) if LEVEL[name] > LEVEL[name_of(path)]}
    assert not above, f"{path.relative_to(PACKAGE)} imports {sorted(above)}, which lie above it"


def test_the_device_never_imports_the_export_tools():
    assert not [path for path in SOURCES if "idletune_export" in path.read_text(encoding="utf-8")]


def test_nothing_imports_the_fleets_programs():
    others = [*SOURCES, *(PACKAGE.parents[1] / "export").rglob("*.py")]
    assert not [path for path in others if "idletune_fleet" in imports_of(path)]


def test_the_fleets_programs_import_the_core_and_no_door():
    doors = {"rpc", "web", "commands", "runtime", "replay", "simulation"}
    for path in (PACKAGE.parents[1] / "fleet").rglob("*.py"):
        assert not doors & {name.split(".")[1] for name in imports_of(path) if name.startswith("idletune.")}, path


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports by their full names, and the packages that they are in."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found | {name.split(".")[0] for name in found}


def test_the_test_can_fail(tmp_path):
    assert LEVEL["runtime"] > LEVEL["state"]
    assert imported(PACKAGE / "runtime" / "runtime.py") >= {"learning", "state", "model"}
