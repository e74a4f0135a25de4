"""JSON of any size, read value by value, with the place of what is wrong."""

import io
import json
import random

import pytest
from idletune.chat_files import records as module
from idletune.chat_files.records import records
from idletune.chat_files.source import Stream
from idletune.errors import DamagedDataError


def values(data: bytes) -> list:
    return [record.value for record in records(Stream(io.BytesIO(data), "talk"))]


def some(count: int) -> list[dict]:
    rng = random.Random(count)
    texts = ['a "quoted" \\ text', "brackets ]}[{", "\U0001f35e\n", "", "x" * 300]
    return [{"n": n, "text": rng.choice(texts), "list": [[], {"a": [n]}]} for n in range(count)]


@pytest.mark.parametrize("chunk", [2, 7, 64, 1 << 20])
def test_array_lines_and_objects_wherever_a_chunk_ends(monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    wanted = some(9)
    for indent in (None, 1):
        assert values(json.dumps(wanted, indent=indent).encode()) == wanted
        assert values(("\n".join(json.dumps(each, indent=indent) for each in wanted)).encode()) == wanted
    assert values(json.dumps(wanted[0], indent=2, ensure_ascii=False).encode()) == wanted[:1]
    assert values(b"[]") == values(b" [ ]\n") == []


@pytest.mark.parametrize(
    "data, said",
    [
        (b'[{"a": 1}, {"b": ', "ends within a value"),
        (b'[{"a": 1}', "ends within a value"),
        (b'[{"a": 1} {"b": 2} x]', "no JSON between the records at byte 10"),
        (b'[{"a": 1}, {"b": 2}, x]', "record 3 .byte 21.: not valid JSON"),
        (b'[{"a": 1},]', "record 2 .*not valid JSON"),
        (b'{"a": \n1}, {"b": 2}', "no JSON between the records"),
        (b'[{"a": 1}]]', "no JSON .']'. at byte 10"),
        (b'[{"a": 1}] trailing', "no JSON \\('trailing'\\) at byte 11"),
        (b'[{"a": 1}, {"b" 2}]', r"record 2 \(byte 11\): not valid JSON .* at byte 16"),
        (b'{"a": 1}\n{"b": \n', "line 2: not valid JSON"),
        (b'{"a"\n{"b": 1}\n', "line 1: not valid JSON"),
        (b'\n\n{"a": 1}\n{"b" 1}\n', "line 4: not valid JSON"),
        (b'[{"a": "\xff"}]', "not UTF-8 text at byte 8"),
        (b'[{"a": ' + b"1" * 5000 + b"}]", "not valid JSON"),
        (b"[" * 200_000, "nested too deep at byte 1;"),
        (b'{"a": ' + b"[" * 200_000, "nested too deep"),
        ("[]".encode("utf-16"), "UTF-16"),
        (b"\xef\xbb\xbf  ", "nothing but white space"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(data, said):
    with pytest.raises(DamagedDataError, match=said):
        values(data)


def test_a_record_and_a_line_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_RECORD", 1000)
    monkeypatch.setattr(module, "CHUNK", 256)
    monkeypatch.setattr("idletune.chat_files.source.LONGEST_RECORD", 1000)
    with pytest.raises(DamagedDataError, match="a record of more than 0 MB at byte 1"):
        values(b'[{"a": "' + b"x" * 5000 + b'"}]')
    with pytest.raises(DamagedDataError, match="the line at byte .* has more than"):
        values(b'{"a": 1}\n' + b'{"a": "' + b"x" * 5000 + b'"}\n')


def test_places_count_from_the_files_beginning(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 64)
    data = b" " + json.dumps(some(30)).encode()
    for number, record in enumerate(records(Stream(io.BytesIO(data), "talk")), start=1):
        at = int(record.place.split("byte ")[1].rstrip(")"))
        assert record.place.startswith(f"record {number} ") and data[at:].startswith(b'{"n": %d,' % (number - 1))
