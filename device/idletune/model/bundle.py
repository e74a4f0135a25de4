"""The phone bundle: a folder with base.gguf, its training graphs and a manifest with the SHA-256 of each file.

A copy over a cable or to a full memory card can lose bytes, so the files are checked before they are used.
"""

import re
from pathlib import Path

from ..errors import DamagedDataError, IdleTuneError, UsageError
from ..formats.gguf_file import GgufFile, sha256
from ..formats.model_shape import ModelShape
from ..small_files import is_file, is_folder, read_json_object

MANIFEST = "manifest.json"
BASE = "base.gguf"
FORMAT = 1
NAME = re.compile(r"[\w.+-]{1,200}(/[\w.+-]{1,200}){0,8}", re.ASCII)  # of a file: relative, and no control characters


def base_of(model: Path) -> Path:
    """The GGUF file at `model`, or the base model of the bundle's folder `model`."""
    return model / BASE if is_folder(model) else model


def check_bundle(model: Path) -> dict | None:
    """Check all files of the bundle that `model` lies in, and return its manifest; None outside of a bundle.

    Raises DamagedDataError for a file that is missing or changed, or a shape that is not the model's, and
    UsageError for a bundle of a newer format.
    """
    folder = Path(model).parent
    if not is_file(folder / MANIFEST):
        return None
    manifest = read_manifest(folder)
    if Path(model).name not in manifest["files"]:
        return None  # a model that is in the folder, but not of the bundle
    for name, facts in manifest["files"].items():
        _check_file(folder, name, facts)
    _check_shape(folder / BASE, manifest)
    return manifest


def read_manifest(folder: Path) -> dict:
    """The manifest. DamagedDataError for one that is incomplete, UsageError for one of a newer format."""
    path = folder / MANIFEST
    manifest = read_json_object(path, "a bundle's manifest", "copy the bundle again")
    number = manifest.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise UsageError(f"the bundle {folder} has format {str(number)[:20]}, this program knows {FORMAT}; update it")
    if not isinstance(number, int) or not _is_complete(manifest):
        raise DamagedDataError(f"{path} is not a bundle's manifest; copy the bundle again")
    return manifest


def _is_complete(manifest: dict) -> bool:
    """Whether every entry that is checked is there, the base model's included."""
    files = manifest.get("files")
    if not isinstance(files, dict) or not isinstance(manifest.get("shape"), dict):
        return False
    listed = (isinstance(facts, dict) and isinstance(facts.get("bytes"), int) for facts in files.values())
    return all(listed) and all(isinstance(facts.get("sha256"), str) for facts in files.values()) and BASE in files


def _check_file(folder: Path, name: str, facts: dict) -> None:
    if not NAME.fullmatch(name) or ".." in Path(name).parts:
        told = f"the manifest names {name[:80]!r}, outside of the bundle"
        raise DamagedDataError(f"{told}; copy the bundle again")
    path = folder / name
    if not path.is_file():
        raise DamagedDataError(f"the bundle lacks {name}; copy the bundle again")
    size = path.stat().st_size
    if size != facts["bytes"]:
        told = f"{name} has {size:,} bytes, its manifest says {facts['bytes']:,}"
        raise DamagedDataError(f"{told}; copy the bundle again")
    if sha256(path) != facts["sha256"]:
        raise DamagedDataError(f"{name} is not what the manifest vouches for (SHA-256 differs); copy the bundle again")


def _check_shape(base: Path, manifest: dict) -> None:
    """Earlier versions wrote more of the shape: what both sides name has to be the same."""
    try:
        found = ModelShape.of(GgufFile(base)).summary()
    except IdleTuneError as error:
        raise DamagedDataError(f"the bundle's base model is not usable: {error}") from None
    differing = ", ".join(key for key in found if found[key] != manifest["shape"].get(key))
    if differing:
        raise DamagedDataError(f"base.gguf is of another shape than its manifest says ({differing}); copy it again")
