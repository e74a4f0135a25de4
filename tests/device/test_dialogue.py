import json

import pytest
from idletune.dialogue import read_exchanges
from idletune.errors import DamagedDataError, UsageError

GOOD = {"question": "hi", "response": "hello", "user": "ann"}


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return path


def test_reads_in_order_by_user_and_limit(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, "", {**GOOD, "user": "bob"}, {**GOOD, "question": " two "})
    assert [e.question for e in read_exchanges(path, "ann")] == ["hi", "two"]
    assert len(read_exchanges(path)) == 3 and len(read_exchanges(path, limit=1)) == 1


@pytest.mark.parametrize("line, error, said", [
    ("{oops", DamagedDataError, "line 2: not valid JSON"),
    ('{"question": ' + "1" * 5000 + "}", DamagedDataError, "line 2: not valid JSON"),
    ("[" * 100_000, DamagedDataError, "line 2: not valid JSON"),
    ("[1]", DamagedDataError, "line 2: an object"),
    ({"question": "hi"}, DamagedDataError, "line 2: 'response' is missing"),
    ({**GOOD, "question": "  "}, UsageError, "line 2: empty question"),
    ({**GOOD, "response": ""}, UsageError, "line 2: empty response"),
])
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
    with pytest.raises(DamagedDataError, match="not UTF-8"):
        read_exchanges(tmp_path / "c.jsonl")
