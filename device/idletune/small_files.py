"""Small files of text and JSON, as people, editors and other programs write them: one reader, and one way to write.

- Text is UTF-8. A byte order mark, as editors on Windows put in front, and as joined files have it between them, is
  no part of it.
- A place in an error counts from the beginning of the file.
- A file is written beside, flushed and renamed: a kill and a full disk leave the one before. Links are not followed.
"""

import errno
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from .errors import DamagedDataError, UsageError

MARK = re.compile("^\ufeff+", re.MULTILINE)
UTF_16 = b"\xff\xfe", b"\xfe\xff"
LARGEST = 256 * 2**20  # bytes: a whole tokenizer has some 30 MB


def user_path(text: str | Path) -> Path:
    """A path as a person writes it, ~ being their home folder. UsageError where nobody knows that folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: no home folder is known for ~ (HOME is not set); give a full path") from None


def is_file(path: Path) -> bool:
    """Whether a regular file is there; False also for a name that no file can have (too long, a zero byte)."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """The same of a folder."""
    try:
        return path.is_dir()
    except OSError:
        return False


def decode(data: bytes, name: str, before: int = 0) -> str:
    """The text of UTF-8 bytes; `name` and `before`, the number of bytes that precede them, are for the error."""
    try:
        return MARK.sub("", data.decode("utf-8"))
    except UnicodeDecodeError as error:
        seems = ", it seems to be UTF-16" if not before and data.startswith(UTF_16) else ""
        place = f"byte {before + error.start}{seems}"
        raise DamagedDataError(f"{name} is not UTF-8 text at {place}; convert it first") from None


def read_text(path: Path) -> str:
    """A file's text. OSError as the system says; DamagedDataError for what is no text, or too large to be meant."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file")  # to read a pipe or a device may never end
    with open(path, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise DamagedDataError(f"{path} has more than {LARGEST // 2**20} MB; it is not the file that is meant")
    return decode(data, str(path))


def parse_json(text: str, **options):
    """The JSON value; ValueError for whatever is none, nested thousands deep or a number of thousands of digits.

    `options` are those of json.loads.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_json_object(path: Path, meant: str, next_step: str) -> dict:
    """The JSON object in a file. DamagedDataError for anything else: "PATH is not MEANT (why); NEXT STEP"."""
    try:
        values = parse_json(read_text(path))
        if isinstance(values, dict):
            return values
        why = f"it holds {type(values).__name__}"
    except (ValueError, OSError) as error:
        why = getattr(error, "msg", None) or getattr(error, "strerror", None) or str(error)
    raise DamagedDataError(f"{path} is not {meant} ({why}); {next_step}")


def half_character(text: str) -> int | None:
    """Where a text holds half a character, as JSON can smuggle one in (\\ud83d); None where it is whole."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None


def whole_text(text: str) -> str:
    """The text as UTF-8 can hold it: bytes of a file's name that are no characters become question marks."""
    return text.encode("utf-8", "replace").decode()


def write_whole(path: Path, data: bytes | memoryview | Iterable[bytes | memoryview]) -> None:
    """Put `data`, whole or in parts, in the file's place, readable for its owner only; on the disk on return.

    OSError changes nothing. Parts may be asked for twice.
    """
    parts = [data] if isinstance(data, bytes | memoryview) else data
    try:
        _write_beside(path, parts)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise
        _write_beside(
            path, parts
        )  # another process removed the unfinished file, as forgetting does with a checkpoint's


def _write_beside(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    partial = path.with_suffix(".part")
    try:
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(partial, flags, 0o600), "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _flush_folder(path.parent)
    except OSError:
        if not partial.is_dir():
            partial.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
