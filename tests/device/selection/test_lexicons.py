"""The lexicons that come along, those a user writes, and the tool that builds the former."""

import json
from importlib.util import find_spec

import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.selection import lexicons as module
from idletune.selection.lexicons import BUILTIN, Lexicons
from idletune.selection.scores import dominant_domain
from idletune.words import words
from idletune_export import lexicons as builder


def folder_with(path, **files):
    for name, content in files.items():
        (path / f"{name}.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_overlaps_count_with_repetition_and_leave_out_zero():
    lexicons = Lexicons({"b": ["x", "Y"], "a": ["x"], "c": ["z"]})
    assert lexicons.overlaps(["x", "x", "y", "q"]) == {"a": 2, "b": 3}
    assert list(lexicons) == ["a", "b", "c"]
    assert lexicons["b"] == {"x", "y"} and len(lexicons) == 3


def test_every_line_of_a_file_counts(tmp_path):
    # the released code lets the last line overwrite the earlier ones
    lexicons = Lexicons.from_folder(folder_with(tmp_path, cooking="bread\noven\nsoup", music="piano\n"))
    assert lexicons["cooking"] == {"bread", "oven", "soup"}
    assert dominant_domain(["bread"], lexicons) == "cooking"


def test_comments_blank_lines_and_case(tmp_path):
    content = "\ufeff# my words\r\n\r\n  Bread  \r\nC3PO # a robot\r\ncr\u00e8me br\u00fbl\u00e9e\r\n"
    lexicons = Lexicons.from_folder(folder_with(tmp_path, cooking=content))
    assert lexicons["cooking"] == {"bread", "c3po", "cr\u00e8me", "br\u00fbl\u00e9e"}


def test_a_line_matches_the_text_it_was_copied_from(tmp_path):
    lexicons = Lexicons.from_folder(folder_with(tmp_path, cooking="Baker's\nwell-done\nC#\n"))
    text = set(words("The baker's steak, well-done, in C#"))
    assert text & lexicons["cooking"] == {"baker", "well", "done", "c"}


def test_missing_and_empty_folder(tmp_path):
    with pytest.raises(UsageError, match="no lexicon folder at .*missing; make it"):
        Lexicons.from_folder(tmp_path / "missing")
    (tmp_path / "notes.md").write_text("bread")
    (tmp_path / "._cooking.txt").write_bytes(b"\x00\xff")  # what a Mac leaves on a memory card
    with pytest.raises(UsageError, match="write one for each domain"):
        Lexicons.from_folder(tmp_path)


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n", "...\n"])
def test_file_without_words(tmp_path, content):
    with pytest.raises(UsageError, match="cooking.txt holds no word; write"):
        Lexicons.from_folder(folder_with(tmp_path, music="piano", cooking=content))


def test_other_is_reserved(tmp_path):
    with pytest.raises(UsageError, match="Other.txt.*rename"):
        Lexicons.from_folder(folder_with(tmp_path, Other="bread"))


def test_file_that_is_not_utf8(tmp_path):
    with pytest.raises(DamagedDataError, match="cooking.txt is not UTF-8 text at byte 7"):
        Lexicons.from_folder(folder_with(tmp_path, cooking=b"read\ncr\xe8me\noven"))


def test_builtin_covers_a_phone_users_life():
    lexicons = Lexicons.builtin()
    assert 10 <= len(lexicons) <= 16 and "other" not in lexicons
    assert all(len(members) > 100 for members in lexicons.values())
    for text, domain in [
        ("My doctor says the fever and the symptoms are a mild flu, take an aspirin", "medicine"),
        ("Preheat the oven, then bake the bread with garlic and cheese", "cooking"),
        ("My laptop cannot download the software update, the wireless router is offline", "technology"),
        ("The goalkeeper and the coach won the football championship", "sports"),
        ("The bank wants a payment for my mortgage, I have no money in my budget", "money"),
        ("zzz qqq", "other"),
    ]:
        assert dominant_domain(words(text), lexicons) == domain, text


def test_builtin_words_are_what_a_text_can_hold_and_tell_domains_apart():
    lexicons = Lexicons.builtin()
    everything = [word for members in lexicons.values() for word in members]
    assert all(words(word) == [word] for word in everything)
    assert max(everything.count(word) for word in ("school", "money", "accountant", "swim")) <= 2
    assert not set(everything) & builder.EVERYDAY


def test_builtin_file_is_small_and_names_source_and_licence():
    record = json.loads(BUILTIN.read_text(encoding="utf-8"))
    assert BUILTIN.stat().st_size < 200_000
    assert "Empath 0.89 by Ethan Fast" in record["source"]
    assert "MIT License" in record["licence"] and "Permission is hereby granted" in record["licence"]


@pytest.mark.parametrize("content", ["{", "[]", '{"lexicons": [1]}', '{"lexicons": {"a": 3}}', "{}"])
def test_damaged_builtin_file(tmp_path, monkeypatch, content):
    monkeypatch.setattr(module, "BUILTIN", tmp_path / "lexicons.json")
    module.BUILTIN.write_text(content)
    with pytest.raises(DamagedDataError, match="reinstall"):
        Lexicons.builtin()


def test_build_joins_categories_adds_plurals_and_drops_what_tells_nothing(monkeypatch):
    monkeypatch.setattr(builder, "DOMAINS", {"a": "one two", "b": "two three", "c": "three four"})
    categories = {
        "one": {"allergy", "last_straw", "9/11", "need"},
        "two": {"glass", "box"},
        "three": {"spread", "toy"},
        "four": {"everywhere"},
        "unused": {"never"},
    }
    categories["one"].add("everywhere"), categories["two"].add("everywhere")
    assert builder.build_domains(categories) == {
        "a": ["allergies", "allergy", "box", "boxes", "glass"],
        "b": ["box", "boxes", "glass", "spread", "spreads", "toy", "toys"],
        "c": ["spread", "spreads", "toy", "toys"],
    }


def test_builder_refuses_another_file(tmp_path, capsys):
    (tmp_path / "categories.tsv").write_text("help\toffice\n")
    for given, message in [("categories.tsv", "is not empath 0.89's"), ("gone.tsv", "pip install")]:
        assert builder.main([str(tmp_path / "out.json"), "--categories", str(tmp_path / given)]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


@pytest.mark.skipif(find_spec("empath") is None, reason="no empath: pip install --no-deps empath==0.89")
def test_the_file_in_the_repository_is_what_the_builder_makes(tmp_path):
    assert builder.main([str(tmp_path / "lexicons.json")]) == 0
    assert (tmp_path / "lexicons.json").read_bytes() == BUILTIN.read_bytes()
