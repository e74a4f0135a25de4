import json

import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.settings import Settings, load_settings, parse_setting, save_settings


def test_defaults_are_valid_and_carry_help():
    from dataclasses import fields

    Settings()
    assert all(spec.metadata["help"] for spec in fields(Settings))


@pytest.mark.parametrize("change, said", [
    ({"rank": 0}, "at least 1"), ({"rank": 65}, "at most 64"), ({"policy": "best"}, "all_three"),
    ({"threads": 10**9}, "at most 256"), ({"learning_rate": float("inf")}, "at most 10"),
    ({"rank": "8"}, "takes int"), ({"epochs": True}, "takes int"), ({"temperature": float("nan")}, "at least 0"),
    ({"alpha": 0.0}, "at least 0.001"),
])
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
    path.write_text(json.dumps({"colour": 1}))
    with pytest.raises(UsageError, match="unknown setting 'colour'"):
        load_settings(path)


def test_changes_are_put_beside_what_is_kept(tmp_path):
    path = tmp_path / "settings.json"
    save_settings(path, {"rank": 4})
    save_settings(path, {"seed": 7})
    assert load_settings(path) == {"rank": 4, "seed": 7} and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="cannot write"):
        save_settings(tmp_path / "none" / "settings.json", {})
