"""The system message beside a key: encrypted in the database, on every way in and out."""

import json
import stat
from pathlib import Path

import pytest
from idletune.commands.cli import main
from idletune.errors import UsageError
from idletune.privacy import export_data
from idletune.runtime import Runtime
from idletune.settings import Settings, load_settings
from idletune.state import private_settings
from idletune.state.keyring import make_key, read_key
from idletune.state.private_settings import IN_DATABASE
from idletune.state.store import Store

KEY, OTHER = b"k" * 32, b"o" * 32
WORDS = "You are Ann's plumbus nurse."


def traces(home) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and b"plumbus" in path.read_bytes()]


def test_a_changed_setting_is_encrypted_and_comes_back(home, tiny_path, tmp_path):
    with Runtime(home, tiny_path, key=KEY) as runtime:
        runtime.change_settings({"system": WORDS, "seed": 3})
        assert runtime.settings.system == WORDS
    assert not traces(home)
    assert load_settings(home / "settings.json") == {"system": IN_DATABASE, "seed": 3}
    with Runtime(home, tiny_path, key=KEY) as runtime:
        assert runtime.settings.system == WORDS and runtime.settings.seed == 3
        export_data(runtime.store, tmp_path / "out.jsonl")
        runtime.change_settings({"system": ""})
    settings = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])
    assert settings == {"record": "settings", "system": WORDS, "seed": 3}
    with Runtime(home, tiny_path, key=KEY) as runtime:
        assert runtime.settings.system == ""


def test_without_a_key_the_file_holds_it(home, tiny_path):
    with Runtime(home, tiny_path) as runtime:
        runtime.change_settings({"system": WORDS})
    assert load_settings(home / "settings.json") == {"system": WORDS}


@pytest.mark.parametrize("encrypt", ["start", "rotate"])
def test_a_plain_one_is_moved_when_a_key_comes(home, encrypt):
    with Store(home) as store:
        private_settings.keep(store, {"system": WORDS})
        if encrypt == "rotate":
            store.rotate_key(KEY)
            assert not traces(home)
    Store(home, key=KEY).close()
    assert not traces(home)
    with Store(home, key=KEY) as store:
        store.rotate_key(OTHER)
    with Store(home, key=OTHER) as store:
        assert private_settings.kept(store) == {"system": WORDS}
        with store.transaction() as db:
            (value,) = db.execute("SELECT value FROM private_settings").fetchone()
    assert b"plumbus" not in value


def test_one_that_is_written_into_the_file_later_takes_the_place_of_the_encrypted_one(home):
    with Store(home, key=KEY) as store:
        private_settings.keep(store, {"system": "something older"})
    (home / "settings.json").write_text(json.dumps({"system": WORDS, "seed": 5}))
    with Store(home, key=KEY) as store:
        assert private_settings.kept(store) == {"system": WORDS, "seed": 5} and not traces(home)


def test_what_cannot_be_written_changes_nothing(home, monkeypatch):
    with Store(home, key=KEY) as store:
        private_settings.keep(store, {"system": "before"})
        (home / "settings.part").mkdir()
        with pytest.raises(UsageError, match="cannot write"):
            private_settings.keep(store, {"system": WORDS})
        assert private_settings.kept(store) == {"system": "before"}
    (home / "settings.part").rmdir()
    (home / "settings.json").write_text(json.dumps({"system": WORDS}))
    with Store(home, key=KEY) as store:
        assert private_settings.kept(store) == {"system": WORDS}


def test_what_is_given_goes_before_what_is_kept(home, tiny_path):
    with Runtime(home, tiny_path, key=KEY) as runtime:
        runtime.change_settings({"system": WORDS})
    for given in ("", "another"):
        with Runtime(home, tiny_path, Settings(system=given), key=KEY) as runtime:
            assert runtime.settings.system == given
    with Runtime(home, tiny_path, key=KEY) as runtime:
        assert runtime.settings.system == WORDS


def test_a_settings_file_from_another_home_means_the_models_own_message(home, tiny_path):
    home.mkdir()
    (home / "settings.json").write_text(json.dumps({"system": IN_DATABASE}))
    for key in (None, KEY):
        with Runtime(home, tiny_path, key=key) as runtime:
            assert runtime.settings.system == ""


def test_the_commands(home, tiny_path, tmp_path, capsys):
    make_key(tmp_path / "key")
    options = ["--model", str(tiny_path), "--key-file", str(tmp_path / "key")]
    with Runtime(home, tiny_path, key=read_key(tmp_path / "key")) as runtime:
        runtime.change_settings({"system": WORDS})
    assert main(["status", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["system"] == WORDS
    assert main(["status", "--json", *options, "--set", "system="]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["system"] == ""
    assert not traces(home) and stat.S_IMODE((home / "settings.json").stat().st_mode) == 0o600
