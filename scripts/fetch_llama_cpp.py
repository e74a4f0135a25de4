"""Takes llama.cpp's converters out of the source package that llama-cpp-python is built from, and checks its hash.

Run: python scripts/fetch_llama_cpp.py FOLDER
The version is the one that pyproject.toml pins: converters and engine know the same architectures.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
WANTED = re.compile(r"[^/]+/vendor/llama\.cpp/(LICENSE|convert_\w+_to_gguf\.py|conversion/.+\.py|gguf-py/gguf/.+\.py)")


def fetch(target: Path) -> None:
    """Fill `target` with the converters; exits when the hash is wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".llama.cpp-") as folder:
        package = f"llama-cpp-python=={VERSION}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", folder, package], check=True)
        (archive,) = Path(folder).glob("*.tar.gz")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise SystemExit(f"the SHA-256 of {package} is {found}, not {SHA256}; run it again")
        made = Path(folder) / "llama.cpp"
        _extract(archive, made)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as members:
        for member in members:
            match = WANTED.fullmatch(member.name)
            if match and member.isfile():
                path = folder / match[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                content = members.extractfile(member)
                assert content
                path.write_bytes(content.read())


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
