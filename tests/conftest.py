"""Fixtures: the real base model where it is wanted, a tiny random one everywhere else."""

import os
import re
import sys
import tempfile
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent / folder) for folder in (".", "device/training", "../fleet")]

try:
    os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))  # no test has to list all fonts
except RuntimeError:  # there is no home; rouge-score's nltk does not even start without a folder
    os.environ.setdefault("NLTK_DATA", tempfile.gettempdir())
from silent import Silent  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402

CONVERSATIONS = os.environ.get("IDLETUNE_CONVERSATIONS", Path(__file__).parents[2] / "shared" / "data")
# What `--fast` leaves out: modules that need the export tools, and tests that use one of these fixtures.
TOOLS = "torch transformers peft onnx onnx_ir spox tokenizers safetensors huggingface_hub".split()
EXPORT_TOOLS = re.compile(rf"^(?:from|import) (?:{'|'.join(TOOLS)}|reference|families|idletune_export)\b", re.M)
SLOW_FIXTURES = {"model_path", "silent", "tiny_model_folder", "open_runtime", "opened", "lived_in", "learned"}
SLOW_FIXTURES |= {"web", "shared", "phone"}  # a server for each test; Termux's programs
SLOW_FOLDERS = {"android_bridge", "export", "families"}


class HiddenTools(MetaPathFinder):
    """No export tool is found. Nothing stands in sys.modules in its place: SciPy asks there whether PyTorch is used."""

    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in TOOLS:
            raise ModuleNotFoundError(f"No module named {name!r}: --fast hides it", name=name)
        return None


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="only tests without PyTorch and a real model")
    parser.addoption("--rest", action="store_true", help="all others")


def pytest_configure(config):
    """The fast tests run where the export tools are not installed; elsewhere it is as if they were not."""
    if config.getoption("fast"):
        sys.meta_path.insert(0, HiddenTools())


def needs_export_tools(path: Path) -> bool:
    if path.is_dir():
        return path.name in SLOW_FOLDERS
    return bool(SLOW_FOLDERS & set(path.parts)) or bool(EXPORT_TOOLS.search(path.read_text(encoding="utf-8")))


def is_fast(item) -> bool:
    slow = item.get_closest_marker("slow") or SLOW_FIXTURES & set(item.fixturenames)
    return not slow and not needs_export_tools(item.path)


def pytest_ignore_collect(collection_path, config):
    return config.getoption("fast") and needs_export_tools(collection_path) or None  # without importing it


def pytest_collection_modifyitems(config, items):
    """The real model last, and after it what only waits for processes that began early."""
    if config.getoption("fast") or config.getoption("rest"):
        left_out = [item for item in items if is_fast(item) == config.getoption("rest")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    items.sort(key=lambda item: [name in item.fixturenames for name in ("silent", "model_path")])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test touches the user's own state."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("IDLETUNE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The real 135M model."""
    path = Path(os.environ.get("IDLETUNE_MODEL", ".cache/models/smollm2-135m-instruct-q4_1.gguf"))
    if not path.is_file():
        pytest.fail(f"no base model at {path}: run make model, or name one in IDLETUNE_MODEL")
    return path


@pytest.fixture(scope="session")
def silent(tmp_path_factory, tiny_path):
    """Processes that live a minute longer than their work, without sockets; see silent.py."""
    (library,) = Path(find_spec("onnxruntime").origin).parent.glob("capi/libonnxruntime.so.*")
    processes = Silent(tmp_path_factory.mktemp("silent"), tiny_path, str(library))
    yield processes
    processes.close()


@pytest.fixture(scope="session", autouse=True)
def begin_early(request):
    """The processes that only have to be waited for begin with the session."""
    if any("silent" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("silent")


@pytest.fixture(scope="session")
def conversations() -> Path:
    """The folder of real conversations; not part of the project."""
    if not Path(CONVERSATIONS).is_dir():
        pytest.skip(
            "no conversation files: name their folder in IDLETUNE_CONVERSATIONS (docs/evidence.md says what they are)"
        )
    return Path(CONVERSATIONS)


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")
