"""What was learned, in forms that others read: answers as OpenAI messages, adapters as GGUF and as a PEFT folder.

Like every file that is written outside of the home, each is recorded as a copy (copies.py): it is not encrypted.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UsageError
from .formats.peft_folder import peft_files
from .learning.adapters import Adapters
from .state import dialogue_sets
from .state.adapter_records import AdapterVersion
from .state.copies import record_adapter, record_adapter_download, record_answers, remove_record
from .state.store import Store


def answer_lines(store: Store, system: str = "") -> list[str]:
    """Each answered set as a line of OpenAI's fine-tuning format, oldest first; `idletune import` reads it back."""
    first = [{"role": "system", "content": system}] if system else []
    lines = []
    for each in dialogue_sets.all_sets(store):
        if each.response is not None:
            said = [{"role": "user", "content": each.question}, {"role": "assistant", "content": each.response}]
            lines.append(json.dumps({"messages": [*first, *said]}, ensure_ascii=False) + "\n")
    return lines


def export_answers(store: Store, out: Path, system: str = "") -> int:
    """Write the answers to a new file, for its owner only; returns their number."""
    lines = answer_lines(store, system)
    with _recorded(store, record_answers(store, out)), _new_file(out) as file:
        file.write("".join(lines).encode())
    return len(lines)


def download_answers(store: Store, system: str = "") -> list[str]:
    """The same lines, for a browser to save."""
    record_answers(store, None)
    return answer_lines(store, system)


def export_adapter(adapters: Adapters, out: Path, base: Path, version: int | None = None) -> AdapterVersion:
    """Write an adapter, by default the one that serves: `out` as .gguf is one file, any other name a PEFT folder."""
    if out.suffix == ".gguf":
        adapter, data = _read(adapters, version)
        with _recorded(adapters.store, record_adapter(adapters.store, out, adapter.version, _sha256(data))):
            with _new_file(out) as file:
                file.write(data)
        return adapter
    adapter = _chosen(adapters, version)
    with adapters.readable(adapter) as path:
        files = peft_files(path, base)
    with _recorded(adapters.store, record_adapter(adapters.store, out, adapter.version, "")):
        _write_folder(out, files)
    return adapter


def adapter_bytes(adapters: Adapters, version: int | None = None) -> tuple[AdapterVersion, bytes]:
    """An adapter's GGUF, for a browser to save. The home remembers that it was given away."""
    adapter, data = _read(adapters, version)
    record_adapter_download(adapters.store, adapter.version, _sha256(data))
    return adapter, data


def _read(adapters: Adapters, version: int | None) -> tuple[AdapterVersion, bytes]:
    adapter = _chosen(adapters, version)
    with adapters.readable(adapter) as path:
        return adapter, path.read_bytes()


def _chosen(adapters: Adapters, version: int | None) -> AdapterVersion:
    adapter = adapters.current() if version is None else adapters.get(version)
    if adapter is None:
        raise UsageError("no adapter serves; name one with --version, idletune status lists them")
    return adapter


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(f"cannot make {folder} ({error.strerror}); name a folder that does not exist yet") from None
    try:
        for name, data in files.items():
            with _new_file(folder / name) as file:
                file.write(data)
    except BaseException:
        shutil.rmtree(folder)
        raise


@contextmanager
def _new_file(out: Path) -> Iterator:
    """A file that was not there, for its owner only; half of one is not left behind. UsageError where it cannot be."""
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write {out} ({error.strerror}); name a file that does not exist yet") from None
    try:
        with open(descriptor, "wb") as file:
            yield file
    except BaseException as error:
        out.unlink()
        if isinstance(error, OSError):
            problem = f"cannot write {out} ({error.strerror})"
            raise UsageError(f"{problem}; free some storage, or name another place") from None
        raise


@contextmanager
def _recorded(store: Store, copy: int) -> Iterator[None]:
    """Drop the record of a copy that could not be written after all."""
    try:
        yield
    except BaseException:
        remove_record(store, copy)
        raise
