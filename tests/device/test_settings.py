import json

import pytest
from idletune import settings
from idletune.errors import DamagedDataError, UsageError
from idletune.settings import (
    SAME_UNDER_ANOTHER_NAME,
    Settings,
    load_settings,
    parse_setting,
    present_name,
    save_settings,
    with_present_names,
)


def test_defaults_are_valid_and_carry_help():
    from dataclasses import fields

    Settings()
    assert all(spec.metadata["help"] for spec in fields(Settings))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"rank": 0}, "at least 1"),
        ({"rank": 65}, "at most 64"),
        ({"eoe_reading": "best"}, "token, histogram"),
        ({"threads": 10**9}, "at most 256"),
        ({"learning_rate": float("inf")}, "at most 10"),
        ({"rank": "8"}, "takes int"),
        ({"epochs": True}, "takes int"),
        ({"temperature": float("nan")}, "at least 0"),
        ({"alpha": 0.0}, "at least 0.001"),
        ({"system": "half \ud83d"}, "system holds half a character"),
    ],
)
def test_values_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        Settings(**change)


def test_text_becomes_the_settings_type():
    assert parse_setting("rank", "4") == 4 and parse_setting("alpha", "8") == 8.0
    with pytest.raises(UsageError, match="no setting 'rnak'"):
        parse_setting("rnak", "4")
    with pytest.raises(UsageError, match="rank takes int, not 'four'"):
        parse_setting("rank", "four")


def test_a_settings_file_round_trips_and_damage_is_refused(tmp_path):
    path = tmp_path / "settings.json"
    assert load_settings(path) == {}
    path.write_text(json.dumps({"rank": 4}))
    assert Settings(**load_settings(path)) == Settings(rank=4)
    for damaged in ("{", "[" * 100_000):
        path.write_text(damaged)
        with pytest.raises(DamagedDataError, match="not a JSON object"):
            load_settings(path)


def test_a_setting_of_another_version_is_warned_of_and_a_renamed_one_counts(tmp_path, caplog):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"colour": 1, "rank": 4, "top_layers": 0, "conversations": True}), "utf-8-sig")
    assert Settings(**load_settings(path)) == Settings(rank=4, top_share=1.0)
    assert "'colour' is not known" in caplog.text and "'conversations' is not" in caplog.text
    save_settings(path, {"rank": 8})
    kept = json.loads(path.read_text())
    assert kept == {"colour": 1, "rank": 8, "top_share": 1.0, "conversations": True}, "unknown ones stay"
    path.write_text(json.dumps({"top_layers": 12}))  # it depends on the model what share that is
    assert load_settings(path) == {} and "'top_layers' is not" in caplog.text


@pytest.mark.parametrize("old, new", SAME_UNDER_ANOTHER_NAME.items())
def test_an_earlier_name_is_accepted_everywhere_and_says_so(tmp_path, caplog, monkeypatch, old, new):
    monkeypatch.setattr("idletune.settings.tell_renamed", settings.tell_renamed.__wrapped__)
    default = getattr(Settings(), new)
    text = str(default).lower() if isinstance(default, bool) else str(default)
    assert present_name(old) == new and parse_setting(old, text) == default
    assert with_present_names({old: default, "rank": 4}) == {new: default, "rank": 4}
    assert f"setting {old} is called {new}" in caplog.text
    (tmp_path / "settings.json").write_text(json.dumps({old: default}))
    assert load_settings(tmp_path / "settings.json") == {new: default}
    with pytest.raises(UsageError, match="under its earlier and its present name"):
        with_present_names({old: default, new: default})


def test_texts_are_whole(tmp_path):
    with pytest.raises(UsageError, match="setting system holds half a character"):
        Settings(system="\ud83d")


def test_changes_are_put_beside_what_is_kept(tmp_path):
    path = tmp_path / "settings.json"
    save_settings(path, {"rank": 4})
    save_settings(path, {"seed": 7})
    assert load_settings(path) == {"rank": 4, "seed": 7} and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="cannot write"):
        save_settings(tmp_path / "none" / "settings.json", {})
