"""A converted adapter of an IdleTune home is a copy of what that home learned: the home is told where it went."""

from pathlib import Path

from idletune.model.bundle import sha256
from idletune.state.adapter_records import version_of_file
from idletune.state.copies import record_adapter
from idletune.state.files import ADAPTERS
from idletune.state.store import FILE_NAME, Store


def record_if_own(source: Path, made: Path, output: Path) -> bool:
    """Record `output`, built at `made`, in the home that `source` is an adapter of; False where it is of none."""
    folder = source.resolve().parent
    if folder.name != ADAPTERS or not (folder.parent / FILE_NAME).is_file():
        return False
    with Store(folder.parent) as store:
        version = version_of_file(store, source.resolve().name)
        if version is None:
            return False
        record_adapter(store, output, version, sha256(made) if made.is_file() else "")
        return True
