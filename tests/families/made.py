"""The tiny models, made once: a process of its own makes those that are missing (see make.py).

The cache goes by the sources that make a model, its own description, and the versions of what makes it.
"""

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from families.models import TINY_MODELS

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "families"
CONVERTERS = HERE.parents[1] / ".cache" / "llama.cpp-0.3.36"
EXPORT = HERE.parents[1] / "export" / "idletune_export"
SOURCES = [HERE / f"{name}.py" for name in ("make", "folders", "gemma4", "../tiny_model")]
SOURCES += [EXPORT / f"{name}.py" for name in ("converter_process", "vocabulary")]
MADE_WITH = ("torch", "transformers", "llama-cpp-python")


def folder_of(name: str) -> Path:
    """Where a model of these sources lies: original/, f32.gguf and quantized.gguf."""
    tiny = TINY_MODELS[name]
    facts = [tiny.model_class, tiny.options(), tiny.rewrite and tiny.rewrite.__name__, *map(version, MADE_WITH)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for path in SOURCES:
        digest.update(path.read_bytes())
    return CACHE / f"{name}-{digest.hexdigest()[:16]}"


def make_missing(names: list[str]) -> None:
    """Make the models that are not there, in one process."""
    missing = {name: folder_of(name) for name in names if not folder_of(name).is_dir()}
    if not missing:
        return
    assert CONVERTERS.is_dir(), f"no converters of llama.cpp at {CONVERTERS}: run make test, or make llama-cpp"
    paths = [CONVERTERS / "gguf-py", CONVERTERS, HERE.parent]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "HF_HUB_OFFLINE": "1"}
    wanted = [f"{name}={folder}" for name, folder in missing.items()]
    made = subprocess.run(
        [sys.executable, "-m", "families.make", *wanted], env=environment, capture_output=True, text=True, timeout=1800
    )
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-6000:]
