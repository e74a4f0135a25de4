"""Fixtures: the real base model where it is wanted, a tiny random one everywhere else."""

import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "device" / "training")]

from exports import Exports  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402

CONVERSATIONS = Path(__file__).parents[2] / "shared" / "data"
EXPORTS = Exports()


def pytest_collection_modifyitems(items):
    """The real model last: its threads wait for each other, so the exports beside it should have ended."""
    items.sort(key=lambda item: ["model_path" in item.fixturenames, "exported" in item.fixturenames])


def pytest_collection_finish(session):
    if any("exported" in getattr(item, "fixturenames", ()) for item in session.items):
        EXPORTS.start()


def pytest_sessionfinish():
    EXPORTS.end()


@pytest.fixture(scope="session")
def exported():
    """The folder of a graph export by its name; see exports.py."""
    return EXPORTS.folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test touches the user's own state."""
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
def conversations() -> Path:
    """The folder of real conversations; not part of the project."""
    if not CONVERSATIONS.is_dir():
        pytest.skip("the conversation files are not here; the README says where the public originals are")
    return CONVERSATIONS


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_graphs(tmp_path_factory, tiny_path) -> Path:
    """Training graphs exported for the tiny model's shape."""
    from reference import make_graphs

    return make_graphs(tiny_path, tmp_path_factory.mktemp("graphs"))
