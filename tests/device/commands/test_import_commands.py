"""idletune import, and what else knows of imports, at the command line."""

import pytest
from chat_samples import SAMPLES, WHATSAPP, lines
from idletune.commands.cli import main

FORGOTTEN = "forgotten import 1 (talk.jsonl): dialogue sets 1, 2"


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_bytes(SAMPLES["idletune"][0])
    return path


def run(capsys, *arguments, code=0) -> str:
    """What a command prints; its error where `code` says that it ends in one."""
    assert main([str(argument) for argument in arguments]) == code
    printed = capsys.readouterr()
    return printed.err if code else printed.out


def answers(monkeypatch, text):
    monkeypatch.setattr("idletune.commands.import_commands.read_line", lambda question: text)


def test_a_preview_and_then_the_import(capsys, monkeypatch, tiny_path, talk):
    answers(monkeypatch, "yes")
    printed = run(capsys, "import", talk, "--model", tiny_path)
    assert "talk.jsonl: IdleTune's own exchanges, 2 exchanges that are new here" in printed
    assert "asked     Who bakes?" in printed and "talk.jsonl: 2 exchanges read, 2 kept (import 1;" in printed
    again = run(capsys, "import", talk, "--model", tiny_path)
    assert "skipped   2 x imported before" in again and "nothing new to import" in again
    assert "idletune     answers  2 kept of 2  talk.jsonl" in run(capsys, "import")
    assert "would forget import 1" in run(capsys, "forget", "--source", "talk.jsonl", "--dry-run")
    assert FORGOTTEN in run(capsys, "forget", "--source", "1")
    assert run(capsys, "import") == ""


def test_without_a_yes_nothing_is_imported(capsys, monkeypatch, tiny_path, talk):
    for text in ("", "no"):
        answers(monkeypatch, text)
        assert "nothing was imported; type yes" in run(capsys, "import", talk, "--model", tiny_path, code=2)
    assert run(capsys, "import") == ""


def test_where_one_file_is_malformed_none_is_imported(capsys, tiny_path, talk, tmp_path):
    (tmp_path / "bad.jsonl").write_bytes(lines({"question": "a", "response": "b"}) + b'{"question": "c"}\n')
    found = run(capsys, "import", talk, tmp_path / "bad.jsonl", "--yes", "--model", tiny_path, code=2)
    assert found.count("\n") == 1 and "bad.jsonl line 2: not IdleTune's own exchanges ('response' is missing" in found
    assert run(capsys, "import") == ""


def test_a_whatsapp_chat_asks_who_is_who(capsys, tiny_path, tmp_path):
    path = tmp_path / "WhatsApp Chat with Anna.txt"
    path.write_text(WHATSAPP)
    assert "--me and one of: Anna, Ben Lee" in run(capsys, "import", path, "--yes", "--model", tiny_path, code=2)
    printed = run(capsys, "import", path, "--me", "Ben Lee", "--stream", "--yes", "--model", tiny_path)
    assert "2 exchanges that are new here, from 2022-03-12 to 2022-03-13" in printed
    assert "1 x media, or a deleted message, first: WhatsApp Chat with Anna.txt line 7" in printed


def test_forget_takes_a_set_or_an_import(capsys, tiny_path, talk):
    run(capsys, "import", talk, "--yes", "--model", tiny_path)
    for arguments in (("forget",), ("forget", 1, "--source", "1")):
        assert "give the number of a dialogue set, or --source" in run(capsys, *arguments, code=2)
    assert "no import 'x'; those that are known: 1 (talk.jsonl)" in run(capsys, "forget", "--source", "x", code=2)


def test_replay_reads_the_same_formats(capsys, tiny_path, tmp_path):
    path = tmp_path / "talk.json"
    path.write_bytes(SAMPLES["chatgpt"][0])
    assert "4 exchanges are too few to learn from" in run(capsys, "replay", path, "--model", tiny_path, code=2)
