"""The two ways to ONNX Runtime, its Python package and its C library alone; a phone with Termux's programs."""

import os
from pathlib import Path

import idletune  # noqa: F401  switches telemetry off before onnxruntime is imported
import onnxruntime
import pytest
from idletune.schedule.programs import output_of
from termux_programs import TermuxPrograms


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


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """Termux's programs, first on the path; they are waited for longer than the product does."""
    phone = TermuxPrograms(tmp_path / "termux")
    monkeypatch.setattr(output_of, "__defaults__", ("", 300.0))
    monkeypatch.setenv("PATH", f"{phone.bin}:{os.environ['PATH']}")
    return phone
