"""idletune fleet: what is shown before joining, joining, leaving."""

import json

import pytest
from fleet_terms import terms
from idletune.commands.cli import main
from idletune.formats.gguf_file import sha256

pytestmark = pytest.mark.slow


@pytest.fixture
def written(tiny_path, tmp_path):
    path = tmp_path / "terms.json"
    path.write_text(json.dumps(terms(sha256(tiny_path))))
    return path


def test_a_fleet_is_joined_after_its_terms_were_shown_and_left_at_once(tiny_path, written, monkeypatch, capsys):
    def fleet(*options):
        code = main(["fleet", "--model", str(tiny_path), *options])
        told = capsys.readouterr()
        return code, told.out + told.err

    for typed in ("no", "", "y"):
        monkeypatch.setattr("builtins.input", lambda question, typed=typed: typed)
        code, told = fleet("--join", str(written))
        assert code == 2 and "What never leaves: your messages" in told and "not joined" in told
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    code, told = fleet("--join", str(written))
    assert code == 0 and told.endswith("joined the family; `idletune fleet --leave` ends it at once\n")
    code, told = fleet()
    assert code == 0 and "run by Anna" in told and "no update has left this home" in told
    assert fleet("--leave") == (0, "left; no update leaves this home\n")
    assert fleet("--leave") == (0, "this home is in no fleet\n")
    assert "this home is in no fleet" in fleet()[1]
    code, told = fleet("--take", "fleet.gguf")
    assert code == 2 and "no fleet was joined" in told
