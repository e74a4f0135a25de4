"""Lay out the Python side that an Android app packs: `python android_bridge/python_android.py --abi ABI ...`.

Writes OUTPUT/python (IdleTune's package and llama-cpp-python's Python part), OUTPUT/jniLibs/ABI (ONNX Runtime and
libllama), OUTPUT/wheels (numpy for Android) and manifest.json with versions and SHA-256. What does not fit the ABI or
the Python version is refused by name, before anything is written. CHAQUOPY.md tells what to do with the result.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LLAMA_CPP_PYTHON = "0.3.36"  # as in pyproject.toml: its Python part and libllama have to be of one source
MACHINES = {"arm64-v8a": 183, "x86_64": 62}  # e_machine of the ELF specification
TAGS = {"arm64-v8a": "arm64_v8a", "x86_64": "x86_64"}
OLDEST_PYTHON = (3, 11)
PURE = ["jinja2", "typing_extensions", "diskcache"]  # from PyPI, by Chaquopy's pip block
LLAMA_OPTIONS = [
    "-DBUILD_SHARED_LIBS=ON",
    "-DGGML_NATIVE=OFF",
    "-DGGML_OPENMP=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_COMMON=OFF",
    "-DLLAMA_BUILD_TOOLS=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
]


def check_library(name: str, content: bytes, abi: str) -> bytes:
    """The library itself; SystemExit when it is none, or one of another ABI."""
    if content[:4] != b"\x7fELF" or len(content) < 20:
        raise SystemExit(f"{name} is not a native library (ELF)")
    machine = struct.unpack_from("<H", content, 18)[0]
    if machine != MACHINES[abi]:
        found = next((abi for abi, code in MACHINES.items() if code == machine), f"machine {machine}")
        raise SystemExit(f"{name} is for {found}, not for {abi}")
    return content


def check_wheel(path: Path, abi: str, python: str) -> None:
    """SystemExit unless the wheel's own tags (PEP 425) are of this Python and of Android on this ABI."""
    tag = re.fullmatch(r".+?-.+?(?:-\d.*)?-(\w+)-(\w+)-([\w.]+)\.whl", path.name)
    if not tag:
        raise SystemExit(f"{path.name} is not named as a wheel is (PEP 427)")
    if tag[1] != f"cp{python.replace('.', '')}":
        raise SystemExit(f"{path.name} is for {tag[1]}, not for Python {python}")
    if not (tag[3].startswith("android") and tag[3].endswith(TAGS[abi])):
        raise SystemExit(f"{path.name} is for {tag[3]}, not for Android on {abi}")


def onnxruntime_library(aar: Path, abi: str) -> bytes:
    """libonnxruntime.so of the ABI, out of the AAR."""
    name = f"jni/{abi}/libonnxruntime.so"
    try:
        with zipfile.ZipFile(aar) as archive:
            return check_library(f"{aar.name}!{name}", archive.read(name), abi)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SystemExit(f"{aar} holds no {name} ({error}); name onnxruntime-android's AAR") from None


def llama_sources(folder: Path) -> tuple[Path, str]:
    """llama-cpp-python's source, unpacked, and the SHA-256 of what was downloaded."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary=:all:",
            "--dest",
            str(folder),
            f"llama-cpp-python=={LLAMA_CPP_PYTHON}",
        ],
        check=True,
    )
    archive = next(folder.glob("llama_cpp_python-*.tar.gz"))
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz"), hashlib.sha256(archive.read_bytes()).hexdigest()


def llama_libraries(source: Path, abi: str, named: Path | None, work: Path) -> dict[str, bytes]:
    """libllama and ggml's libraries: those in the folder `named`, else built by the NDK from `source`."""
    if named is None:
        ndk = os.environ.get("ANDROID_NDK_HOME")
        if not ndk:
            raise SystemExit("no libllama for Android: set ANDROID_NDK_HOME, or name a folder of libraries (LLAMA=DIR)")
        toolchain = f"-DCMAKE_TOOLCHAIN_FILE={ndk}/build/cmake/android.toolchain.cmake"
        android = [f"-DANDROID_ABI={abi}", "-DANDROID_PLATFORM=26", "-DCMAKE_BUILD_TYPE=Release", toolchain]
        subprocess.run(
            ["cmake", "-S", str(source / "vendor/llama.cpp"), "-B", str(work), *android, *LLAMA_OPTIONS], check=True
        )
        subprocess.run(["cmake", "--build", str(work), "--target", "llama", "--parallel"], check=True)
        named = work
    found = {path.name: check_library(path.name, path.read_bytes(), abi) for path in sorted(named.rglob("lib*.so"))}
    if "libllama.so" not in found:
        raise SystemExit(f"no libllama.so in {named}")
    return found


def lay_out(given) -> dict:
    """Write everything beside OUTPUT, then put it in its place; returns the manifest."""
    if tuple(map(int, given.python.split("."))) < OLDEST_PYTHON:
        raise SystemExit(f"Python {given.python} is too old; IdleTune needs 3.11 or later")
    check_wheel(given.numpy, given.abi, given.python)
    libraries = {"libonnxruntime.so": onnxruntime_library(given.onnxruntime, given.abi)}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.output.parent) as folder:
        work = Path(folder)
        source, source_hash = llama_sources(work / "source")
        libraries |= llama_libraries(source, given.abi, given.llama, work / "build")
        made = work / "made"
        without = shutil.ignore_patterns("__pycache__", "*.so", "lib")
        shutil.copytree(ROOT / "device" / "idletune", made / "python" / "idletune", ignore=without)
        shutil.copytree(source / "llama_cpp", made / "python" / "llama_cpp", ignore=without)
        (made / "wheels").mkdir()
        shutil.copy(given.numpy, made / "wheels")
        (made / "jniLibs" / given.abi).mkdir(parents=True)
        for name, content in libraries.items():
            (made / "jniLibs" / given.abi / name).write_bytes(content)
        files = {path.relative_to(made).as_posix(): path for path in sorted(made.rglob("*")) if path.is_file()}
        manifest = {
            "abi": given.abi,
            "python": given.python,
            "llama_cpp_python": LLAMA_CPP_PYTHON,
            "llama_cpp_python_sdist_sha256": source_hash,
            "onnxruntime": given.onnxruntime.name,
            "numpy": given.numpy.name,
            "from_pypi": PURE,
            "files": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
        }
        (made / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        if given.output.exists():
            shutil.rmtree(given.output)
        made.rename(given.output)
    return manifest


def main(arguments: list[str] | None = None) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--abi", choices=MACHINES, required=True)
    parser.add_argument("--python", default="3.11", help="the version that Chaquopy is told to pack")
    parser.add_argument("--numpy", type=Path, required=True, help="numpy's Android wheel")
    parser.add_argument("--onnxruntime", type=Path, required=True, help="onnxruntime-android's AAR")
    parser.add_argument("--llama", type=Path, help="folder of libllama.so and ggml's; left out, the NDK builds them")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    manifest = lay_out(given)
    print(f"{given.output}: {len(manifest['files'])} files for {given.abi}, Python {given.python}", file=sys.stderr)


if __name__ == "__main__":
    main()
