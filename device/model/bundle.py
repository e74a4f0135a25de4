"""The phone bundle: a folder with base.gguf, its training graphs and a manifest that vouches for them.

A copy over a cable or a full memory card can lose bytes; what is started is what was measured, or nothing.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from ..errors import DamagedDataError, IdleTuneError, UsageError
from ..training.shape import ModelShape
from .gguf_file import GgufFile

MANIFEST = "manifest.json"
BASE = "base.gguf"
FORMAT = 1


def base_of(model: Path) -> Path:
    """The GGUF file that is meant: the one named, or the base model in a bundle's folder."""
    return model / BASE if model.is_dir() else model


def check_bundle(model: Path) -> dict | None:
    """The manifest of the bundle that `model` lies in, everything it lists checked; None outside of a bundle.

    Raises DamagedDataError for a file that is missing or changed, or a shape that is not the model's, and
    UsageError for a bundle of a newer format.
    """
    folder = Path(model).parent
    if not (folder / MANIFEST).is_file():
        return None
    manifest = read_manifest(folder)
    if Path(model).name not in manifest["files"]:
        return None  # a model that merely lies there
    for name, facts in manifest["files"].items():
        _check_file(folder, name, facts)
    _check_shape(folder / BASE, manifest)
    return manifest


def read_manifest(folder: Path) -> dict:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        newer = manifest["format"] > FORMAT
        known = newer or _is_complete(manifest)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        newer = known = False
    if not known:
        raise DamagedDataError(f"{path} is not a bundle's manifest; copy the bundle again")
    if newer:
        raise UsageError(
            f"the bundle {folder} has format {manifest['format']}, this program knows {FORMAT}; update it"
        )
    return manifest


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.hexdigest()


def _is_complete(manifest: dict) -> bool:
    """Whether all is there that is checked, the base model's own entry included."""
    files = manifest["files"]
    listed = all(isinstance(facts["bytes"], int) and "sha256" in facts for facts in files.values())
    return listed and BASE in files and isinstance(manifest["shape"], dict)


def _check_file(folder: Path, name: str, facts: dict) -> None:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DamagedDataError(f"the manifest names {name}, outside of the bundle; copy the bundle again")
    if not path.is_file():
        raise DamagedDataError(f"the bundle lacks {name}; copy the bundle again")
    size = path.stat().st_size
    if size != facts["bytes"]:
        told = f"{name} has {size:,} bytes, its manifest says {facts['bytes']:,}"
        raise DamagedDataError(f"{told}; copy the bundle again")
    if sha256(path) != facts["sha256"]:
        raise DamagedDataError(f"{name} is not what the manifest vouches for (SHA-256 differs); copy the bundle again")


def _check_shape(base: Path, manifest: dict) -> None:
    try:
        found = asdict(ModelShape.of(GgufFile(base)))
    except IdleTuneError as error:
        raise DamagedDataError(f"the bundle's base model is not usable: {error}") from None
    # Through JSON, as the manifest went: tuples and lists are the same there.
    if json.loads(json.dumps(found)) != manifest["shape"]:
        differing = ", ".join(key for key in found if found[key] != manifest["shape"].get(key))
        raise DamagedDataError(f"base.gguf is of another shape than its manifest says ({differing}); copy it again")
