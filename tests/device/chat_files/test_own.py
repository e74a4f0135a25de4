import json

import pytest
from idletune.chat_files import read_exchanges
from idletune.errors import DamagedDataError, UsageError

GOOD = {"question": "hi", "response": "hello", "user": "ann"}


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return path


def test_reads_in_order_by_user_and_limit(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, "", {**GOOD, "user": "bob"}, {**GOOD, "question": " two "})
    assert [e.question for e in read_exchanges(path, "ann")] == ["hi", "two"]
    assert len(read_exchanges(path)) == 3 and len(read_exchanges(path, limit=1)) == 1


@pytest.mark.parametrize(
    "line, error, said",
    [
        ("{oops", DamagedDataError, "line 2: not valid JSON"),
        ('{"question": ' + "1" * 5000 + "}", DamagedDataError, "line 2: not valid JSON"),
        ("[" * 100_000, DamagedDataError, "line 2: not valid JSON"),
        ("[1]", DamagedDataError, "line 2: not IdleTune's own exchanges .an object is expected"),
        ({"question": "hi"}, DamagedDataError, "line 2: .*'response' is missing"),
        ({**GOOD, "question": "  "}, DamagedDataError, "line 2: .*empty question"),
        ({**GOOD, "response": ""}, DamagedDataError, "line 2: .*empty response"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, error, said):
    with pytest.raises(error, match=said):
        read_exchanges(write(tmp_path / "a.jsonl", GOOD, line))


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(GOOD), "utf-8-sig")
    assert read_exchanges(tmp_path / "a.jsonl")[0].question == "hi"


def test_unknown_user_missing_file_and_other_bytes(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD)
    with pytest.raises(UsageError, match="no exchange of user 'eve'.*ann"):
        read_exchanges(path, "eve")
    with pytest.raises(UsageError, match="no conversation file"):
        read_exchanges(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DamagedDataError, match="not UTF-8|UTF-16"):
        read_exchanges(tmp_path / "c.jsonl")


@pytest.mark.parametrize("side", ["question", "response", "user"])
def test_half_a_character_is_found_when_it_is_read(tmp_path, side):
    path = write(tmp_path / "a.jsonl", GOOD, json.dumps({**GOOD, side: "hi \ud83d"}))
    with pytest.raises(DamagedDataError, match=f"a.jsonl line 2: .*half a character at position 3 of '{side}'"):
        read_exchanges(path)


def test_joined_files_and_offsets_in_the_whole_file(tmp_path):
    part = json.dumps(GOOD).encode("utf-8-sig") + b"\r\n"
    (tmp_path / "a.jsonl").write_bytes(part + part)
    assert len(read_exchanges(tmp_path / "a.jsonl")) == 2
    (tmp_path / "a.jsonl").write_bytes(part * 9000 + b'{"question": "\xe9"')
    with pytest.raises(DamagedDataError, match=f"at byte {len(part) * 9000 + 14};"):
        read_exchanges(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text(json.dumps(GOOD), "utf-16")
    with pytest.raises(DamagedDataError, match="a.jsonl seems to be UTF-16"):
        read_exchanges(tmp_path / "a.jsonl")


def test_a_users_name_is_the_same_in_either_unicode_form(tmp_path):
    path = write(tmp_path / "a.jsonl", {**GOOD, "user": "Zo\u00eb"}, {**GOOD, "user": "Zoe\u0308"})
    assert len(read_exchanges(path, "Zoe\u0308")) == len(read_exchanges(path, "Zo\u00eb")) == 2
