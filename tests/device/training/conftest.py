"""Training runs on the package onnxruntime and on its C library alone: the tests here on both."""

from pathlib import Path

import onnxruntime
import pytest


@pytest.fixture(scope="session")
def c_library() -> str:
    """The library that the package carries; an app packs the same for Android."""
    (path,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    return str(path)


@pytest.fixture
def use_binding(c_library, monkeypatch):
    def use(name: str) -> None:
        if name == "library":
            monkeypatch.setenv("IDLETUNE_ONNXRUNTIME", c_library)
        else:
            monkeypatch.delenv("IDLETUNE_ONNXRUNTIME", raising=False)

    return use


@pytest.fixture(autouse=True)
def binding(request, use_binding) -> str:
    use_binding(getattr(request, "param", "package"))


def pytest_generate_tests(metafunc):
    """What needs PyTorch on a large model or exports graphs runs once; test_graph.py compares the bindings' bytes."""
    if {"model_path", "architecture", "use_binding"}.isdisjoint(metafunc.fixturenames):
        metafunc.parametrize("binding", ["package", "library"], indirect=True)
