"""Files and archives that are damaged, hostile or simply not there."""

import io
import os
import struct
import zipfile

import pytest
from chat_samples import OWN, lines, zipped
from idletune.chat_files import Source, open_chat_file
from idletune.chat_files import source as module
from idletune.errors import DamagedDataError, UsageError


def read(data: bytes) -> list:
    return list(open_chat_file(Source("talk.zip", data=data)).read())


def test_no_file_and_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match="no conversation file at"):
            Source.of(path)


def test_a_name_with_control_characters_is_shown_safely(tmp_path):
    path = tmp_path / "a\x1b[31m\u202e.json"
    path.write_bytes(lines(*OWN))
    assert Source.of(path).name == "a [31m.json"


def test_entries_are_read_where_they_lie_whatever_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../escape.jsonl", lines(*OWN))
        archive.writestr("/etc/absolute.jsonl", lines({"question": "a", "response": "b"}))
    assert len(read(buffer.getvalue())) == 3
    assert list(tmp_path.iterdir()) == [] and not (tmp_path.parent / "escape.jsonl").exists()


def test_a_bomb_is_not_unpacked():
    bomb = b"[" + b'{"question":"x","response":"y"},' * (1 << 20) + b"{}]"
    data = zipped(bomb_json=bomb)
    assert len(data) < len(bomb) // 300
    with pytest.raises(DamagedDataError, match="bomb.json: 32 MB out of .* bytes is no text"):
        read(data)


def test_an_entry_larger_than_its_archive_says():
    data = bytearray(zipped(talk_json=lines(*OWN)))
    size = struct.pack("<I", len(lines(*OWN)))
    changed = data.replace(size, struct.pack("<I", 40))
    assert changed != data
    with pytest.raises((DamagedDataError, UsageError)):
        read(bytes(changed))


def test_too_many_entries(monkeypatch):
    monkeypatch.setattr(module, "MOST_ENTRIES", 2)
    with pytest.raises(UsageError, match="an archive of 3 files or more; unpack it"):
        read(zipped(a_json=b"", b_json=b"", c_json=b""))


def test_nothing_readable_in_it():
    with pytest.raises(UsageError, match="an archive without a .json, .jsonl, .txt file"):
        read(zipped(photo=b"x"))
    encrypted = bytearray(zipped(talk_json=lines(*OWN)))
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.find(sign) + flags] |= 1
    with pytest.raises(UsageError, match="talk.json: encrypted; unpack it"):
        read(bytes(encrypted))


def test_cut_and_changed_archives_end_in_one_line():
    data = zipped(talk_json=lines(*OWN) * 20)
    for end in range(4, len(data), 7):
        with pytest.raises((DamagedDataError, UsageError)) as refused:
            read(data[:end])
        assert "\n" not in str(refused.value)
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 0x41
        try:
            read(bytes(changed))
        except (DamagedDataError, UsageError) as refused:
            assert "\n" not in str(refused)


def test_an_error_quotes_little_of_an_archive():
    data = bytearray(zipped(talk_json=lines(*OWN)))
    at = data.find(b"PK\x03\x04") + 26
    data[at : at + 2] = struct.pack("<H", 60)  # the length of the name in the entry's own header
    with pytest.raises((DamagedDataError, UsageError)) as refused:
        read(bytes(data))
    assert len(str(refused.value)) < 300
