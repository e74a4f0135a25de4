"""The benchmarks are a folder beside the tests, not an installed package."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory, tiny_path) -> Path:
    """The tiny model in a folder of its own, as the targets get it."""
    folder = tmp_path_factory.mktemp("tiny model")
    (folder / "tiny.gguf").write_bytes(tiny_path.read_bytes())
    return folder
