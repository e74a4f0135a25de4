"""What an app packs of Python: laid out, vouched for, and refused where it does not fit."""

import hashlib
import importlib.util
import json
import struct
import tarfile
import zipfile

import pytest
from building import BRIDGE, ROOT

spec = importlib.util.spec_from_file_location("python_android", BRIDGE / "python_android.py")
python_android = importlib.util.module_from_spec(spec)
spec.loader.exec_module(python_android)
NUMPY = "numpy-2.1.0-cp311-cp311-android_26_arm64_v8a.whl"


def library(abi: str) -> bytes:
    return b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HH", 3, python_android.MACHINES[abi]) + bytes(40)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """An AAR, a wheel, libllama; llama-cpp-python's source as a folder, so that nothing is downloaded."""
    with zipfile.ZipFile(tmp_path / "onnxruntime.aar", "w") as archive:
        for abi in python_android.MACHINES:
            archive.writestr(f"jni/{abi}/libonnxruntime.so", library(abi))
    (tmp_path / NUMPY).write_bytes(b"a wheel")
    for abi in python_android.MACHINES:
        (tmp_path / abi).mkdir()
        for name in ("libllama.so", "libggml.so"):
            (tmp_path / abi / name).write_bytes(library(abi))
    source = tmp_path / "sdist" / "llama_cpp"
    (source / "lib").mkdir(parents=True)
    (source / "llama_cpp.py").write_text("")
    (source / "lib" / "libllama.so").write_bytes(b"the desktop's")
    monkeypatch.setattr(python_android, "llama_sources", lambda folder: (source.parent, "0" * 64))
    return tmp_path


def run(parts, abi="arm64-v8a", numpy=NUMPY, python="3.11", llama=None, aar="onnxruntime.aar"):
    (parts / numpy).touch()
    output = parts / "out"
    python_android.main(
        [
            "--abi",
            abi,
            "--python",
            python,
            "--numpy",
            str(parts / numpy),
            "--onnxruntime",
            str(parts / aar),
            "--llama",
            str(parts / (llama or abi)),
            "-o",
            str(output),
        ]
    )
    return output


def test_everything_is_there_and_vouched_for(parts):
    output = run(parts)
    manifest = json.loads((output / "manifest.json").read_text())
    found = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert found == {*manifest["files"], "manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((output / name).read_bytes()).hexdigest() == digest
    assert {
        "python/idletune/rpc/dispatcher.py",
        "python/llama_cpp/llama_cpp.py",
        f"wheels/{NUMPY}",
        "jniLibs/arm64-v8a/libonnxruntime.so",
        "jniLibs/arm64-v8a/libllama.so",
        "jniLibs/arm64-v8a/libggml.so",
    } <= found
    assert not any(name.startswith("python/") and name.endswith(".so") for name in found)
    run(parts)  # again, in the place of the first


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"llama": "x86_64"}, "libggml.so is for x86_64, not for arm64-v8a"),
        ({"abi": "x86_64"}, "is for android_26_arm64_v8a, not for Android on x86_64"),
        ({"python": "3.12"}, "is for cp311, not for Python 3.12"),
        ({"python": "3.10", "numpy": "numpy-2.1.0-cp310-cp310-android_26_arm64_v8a.whl"}, "Python 3.10 is too old"),
        (
            {"numpy": "numpy-2.1.0-cp311-cp311-manylinux_2_28_aarch64.whl"},
            "is for manylinux_2_28_aarch64, not for Android",
        ),
        ({"numpy": "numpy.whl"}, "not named as a wheel"),
        ({"aar": "none.aar"}, "holds no jni/arm64-v8a/libonnxruntime.so"),
        ({"llama": "sdist"}, "libllama.so is not a native library"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(parts, changes, said):
    with pytest.raises(SystemExit, match=said):
        run(parts, **changes)
    assert not (parts / "out").exists()


def test_without_an_ndk_or_libraries_it_says_so(parts, monkeypatch):
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    with pytest.raises(SystemExit, match="set ANDROID_NDK_HOME, or name a folder"):
        python_android.main(
            [
                "--abi",
                "arm64-v8a",
                "--numpy",
                str(parts / NUMPY),
                "--onnxruntime",
                str(parts / "onnxruntime.aar"),
                "-o",
                str(parts / "out"),
            ]
        )


def test_the_source_is_fetched_without_its_build_tools_here(tmp_path, monkeypatch):
    """pip asks the source for its name, which takes scikit-build-core: pip fetches that, the project does not."""

    def pip(command, check):
        assert "--no-build-isolation" not in command
        with tarfile.open(tmp_path / f"llama_cpp_python-{python_android.LLAMA_CPP_PYTHON}.tar.gz", "w:gz"):
            pass

    monkeypatch.setattr(python_android.subprocess, "run", pip)
    assert python_android.llama_sources(tmp_path)[0].name == f"llama_cpp_python-{python_android.LLAMA_CPP_PYTHON}"


def test_its_version_of_llama_cpp_python_is_the_one_the_project_pins():
    assert f'"llama-cpp-python=={python_android.LLAMA_CPP_PYTHON}"' in (ROOT / "pyproject.toml").read_text()
