"""The bytes of a file of conversations: a file, an uploaded one in memory, or the text entries of a zip archive."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import DamagedDataError, UsageError
from ..plain_text import one_line
from ..small_files import is_file

LONGEST_RECORD = 32 * 2**20  # bytes of one conversation, or of one line
MOST_ENTRIES = 20_000  # of an archive: its list is held in memory
LARGEST_ENTRY = 8 * 2**30  # bytes once unpacked
MOST_PACKED = 300  # times that JSON and text may shrink; bombs shrink to a thousandth
UNCHECKED = 2**24  # bytes of an entry below which its ratio does not matter
TEXTS = (".json", ".jsonl", ".txt")
END_OF_LIST = b"PK\x05\x06"  # APPNOTE.TXT 4.3.16, end of central directory record
END_BYTES, LONGEST_COMMENT = 22, 65_535


class Stream:
    """Bytes read once, front to back; `position` counts them, `most` bounds them."""

    def __init__(self, file: BinaryIO, name: str, most: int = LARGEST_ENTRY):
        self._file, self.name, self.position, self._most = file, name, 0, most

    def read(self, size: int) -> bytes:
        return self._counted(self._file.read, size)

    def line(self) -> bytes:
        """The next line with its end, b"" after the last; DamagedDataError for one longer than LONGEST_RECORD."""
        found = self._counted(self._file.readline, LONGEST_RECORD + 1)
        if len(found) > LONGEST_RECORD:
            place = f"the line at byte {self.position - len(found)}"
            raise DamagedDataError(f"{self.name}: {place} has more than {LONGEST_RECORD // 2**20} MB; split it")
        return found

    def _counted(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            data = read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise DamagedDataError(
                f"{self.name}: damaged at byte {self.position} ({_said(error)}); fetch it again"
            ) from None
        except OSError as error:
            raise UsageError(f"{self.name} cannot be read ({error.strerror}) at byte {self.position}") from None
        self.position += len(data)
        if self.position > self._most:
            raise DamagedDataError(f"{self.name} unpacks to more than its archive says; it is not read further")
        return data


@dataclass(frozen=True)
class Part:
    """One text of a source. `size` is what its progress counts to, in bytes."""

    name: str
    size: int
    open: Callable[[], "Iterator[Stream]"]

    @contextmanager
    def stream(self) -> Iterator[Stream]:
        yield from self.open()


@dataclass(frozen=True)
class Source:
    """A file by its path, or one that was uploaded (`data`). `name` is what messages call it."""

    name: str
    path: Path | None = None
    data: bytes = b""

    @classmethod
    def of(cls, path: Path) -> "Source":
        """UsageError where no regular file is."""
        path = Path(path)
        if not is_file(path):
            raise UsageError(f"no conversation file at {path}; give a file that another program exported")
        return cls(one_line(path.name), path)

    def open(self) -> BinaryIO:
        if self.path is None:
            return io.BytesIO(self.data)
        try:
            return self.path.open("rb")
        except OSError as error:
            raise UsageError(f"{self.name} cannot be read ({error.strerror}); check its place and its mode") from None

    def parts(self) -> list[Part]:
        """The texts: the file itself, or the entries of an archive that are text, by name."""
        with self.open() as file:
            start = file.read(4)
            size = file.seek(0, io.SEEK_END)
            if start != b"PK\x03\x04":
                return [Part(self.name, size, self._whole)]
            self._check_list(file, size)
            return [self._part(entry) for entry in self._entries(file)]

    def _whole(self) -> Iterator[Stream]:
        with self.open() as file:
            yield Stream(file, self.name)

    def _check_list(self, file: BinaryIO, size: int) -> None:
        """Refuse an archive whose list of entries would fill the memory, before anything reads that list."""
        file.seek(max(0, size - END_BYTES - LONGEST_COMMENT))
        tail = file.read()
        at = tail.rfind(END_OF_LIST)
        if at < 0 or len(tail) - at < END_BYTES:
            raise DamagedDataError(f"{self.name}: the zip archive ends too early; fetch it again")
        entries, bytes_of_list = struct.unpack_from("<HI", tail, at + 10)
        if entries > MOST_ENTRIES or bytes_of_list > MOST_ENTRIES * 1024:
            raise UsageError(
                f"{self.name}: an archive of {entries} files or more; unpack it and give the file of conversations"
            )

    def _entries(self, file: BinaryIO) -> list[zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(file) as archive:
                found = [entry for entry in archive.infolist() if entry.filename.lower().endswith(TEXTS)]
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise DamagedDataError(f"{self.name}: no sound zip archive ({_said(error)}); fetch it again") from None
        if not found:
            raise UsageError(f"{self.name}: an archive without a {', '.join(TEXTS)} file; give an exported one")
        return sorted(found, key=lambda entry: entry.filename)

    def _part(self, entry: zipfile.ZipInfo) -> Part:
        name = f"{self.name}, {one_line(entry.filename, 60)}"
        if entry.flag_bits & 1:
            raise UsageError(f"{name}: encrypted; unpack it with its password first")
        ratio = entry.file_size / max(1, entry.compress_size)
        if entry.file_size > LARGEST_ENTRY or entry.file_size > UNCHECKED and ratio > MOST_PACKED:
            size = f"{entry.file_size // 2**20} MB out of {entry.compress_size} bytes"
            raise DamagedDataError(f"{name}: {size} is no text; the archive is not read")

        def unpacked() -> Iterator[Stream]:
            with self.open() as file, zipfile.ZipFile(file) as archive:
                try:
                    opened = archive.open(entry)
                except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
                    raise DamagedDataError(f"{name}: damaged ({_said(error)}); fetch it again") from None
                with opened:
                    yield Stream(opened, name, entry.file_size)  # type: ignore[arg-type]

        return Part(name, entry.file_size, unpacked)


def _said(error: Exception) -> str:
    """What zipfile says, which may quote the archive's bytes."""
    return one_line(str(error), 100)
