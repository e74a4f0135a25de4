"""The two ways to ONNX Runtime: its Python package, and its C library alone."""

from pathlib import Path

import idletune  # noqa: F401  switches telemetry off before onnxruntime is imported
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
