"""Erasing a home. (Its mode: test_store.py.)"""

from pathlib import Path

import pytest
from idletune.errors import UsageError
from idletune.state.home import erase, links_in
from idletune.state.store import Store


def test_erasing_takes_all_of_ours_and_nothing_else(home):
    with Store(home, key=b"k" * 32):
        (home / "adapters").mkdir()
        (home / "adapters" / "adapter-00001.gguf").write_bytes(b"weights")
        (home / "graphs" / "tiny").mkdir(parents=True)
        (home / "graphs" / "tiny" / "head.onnx").touch()
        (home / "training.npz").touch()
    kept = home / "letter.txt"
    kept.write_text("mine")
    assert {"idletune.db", "adapters/adapter-00001.gguf", "training.npz"} <= set(erase(home))
    assert [path.name for path in home.iterdir()] == ["letter.txt"] and kept.read_text() == "mine"
    kept.unlink()
    Store(home).close()
    erase(home)
    assert not home.exists()
    with pytest.raises(UsageError, match="no home at"):
        erase(home)


def test_a_folder_that_is_no_home_is_left_alone(tmp_path):
    for name in ("adapters", "graphs"):
        (tmp_path / name).mkdir()
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "graphs" / "thesis.svg").write_text("mine")
    with pytest.raises(UsageError, match="holds no idletune.db, so it is no home"):
        erase(tmp_path)
    assert (tmp_path / "graphs" / "thesis.svg").read_text() == "mine" and (tmp_path / "settings.json").exists()


def test_links_go_and_what_they_lead_to_stays(home, tmp_path):
    Store(home).close()
    shared, settings, away = tmp_path / "shared", tmp_path / "settings.json", tmp_path / "away"
    shared.mkdir()
    (shared / "head.onnx").write_text("shared")
    settings.write_text("{}")
    (home / "graphs").symlink_to(shared)
    (home / "adapters").mkdir()
    (home / "adapters" / "more").symlink_to(shared)
    (home / "settings.json").symlink_to(settings)
    (home / "training.npz").symlink_to(tmp_path / "nowhere")
    away.symlink_to(home)
    assert {path.name for path in links_in(home)} == {"graphs", "more", "settings.json", "training.npz"}
    erase(away)
    assert not list(home.iterdir())
    assert (shared / "head.onnx").read_text() == "shared" and settings.read_text() == "{}"


def test_an_erase_that_was_cut_short_is_done_again(home, monkeypatch):
    with Store(home):
        (home / "adapters").mkdir()
        (home / "adapters" / "adapter-00001.gguf").write_bytes(b"weights")
    (home / "letter.txt").write_text("mine")
    removed, unlink = [], Path.unlink

    def killed_after_the_first(path):
        if removed:
            raise KeyboardInterrupt
        removed.append(path.name)
        unlink(path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "unlink", killed_after_the_first)
        erase(home)
    assert removed == ["adapter-00001.gguf"]
    erase(home)
    assert [path.name for path in home.iterdir()] == ["letter.txt"]


def test_what_is_erased_is_overwritten_first(home):
    Store(home).close()
    (home / "training.npz").write_bytes(b"plumbus" * 100)
    link = home.parent / "link"
    link.hardlink_to(home / "training.npz")
    erase(home)
    assert link.read_bytes() == bytes(700)
