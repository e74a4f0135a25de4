"""Whose a folder is, and erasing a home. (Its mode: test_store.py.)"""

import os
from pathlib import Path

import pytest
from idletune.errors import UsageError
from idletune.learning.adapters import Adapters
from idletune.state.home import OWN_FILES, erase, left_in, links_in, own_folder
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
    (home / "adapters" / "adapter-00002.gguf").symlink_to(shared / "head.onnx")
    (home / "settings.json").symlink_to(settings)
    (home / "training.npz").symlink_to(tmp_path / "nowhere")
    away.symlink_to(home)
    assert {path.name for path in links_in(home)} == {"graphs", "adapter-00002.gguf", "settings.json", "training.npz"}
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


@pytest.mark.parametrize("name", ["adapters/mine.safetensors", "adapters/adapter-00001.gguf", "training.npz", "a.txt"])
def test_a_new_home_leaves_what_it_finds(home, name):
    """A folder without our database is not ours, whatever the names in it."""
    (home / name).parent.mkdir(parents=True)
    (home / name).write_text("x")
    with pytest.raises(UsageError, match="no idletune.db, so it is no home"):
        Adapters(Store(home), "base")
    assert (home / name).read_text() == "x" and not (home / "idletune.db").exists()


def test_what_may_precede_the_database(home):
    for name in ("graphs", "bundle", "adapters"):
        (home / name).mkdir(parents=True)
    (home / "graphs" / "shape.json").write_text("{}")
    (home / "settings.json").write_text("{}")
    Store(home).close()


def test_a_lost_database_is_told_from_a_foreign_folder(home):
    with Store(home) as store:
        Adapters(store, "base")
        (home / "adapters" / "adapter-00001.gguf").write_bytes(b"weights")
    for path in home.glob("idletune.db*"):
        path.unlink()
    with pytest.raises(UsageError, match="holds adapters but no idletune.db.*put the database back"):
        Store(home)
    assert (home / "adapters" / "adapter-00001.gguf").exists()


def test_only_names_of_ours_are_swept(home):
    with Store(home) as store:
        folder = own_folder(home, "adapters")
        ours, mine = folder / "adapter-00007.gguf", folder / "mine.safetensors"
        for path in (ours, ours.with_suffix(".part"), mine, folder / "adapter-1.gguf"):
            path.write_text("x")
        (folder / "adapter-00008.gguf").mkdir()
        Adapters(store, "base")
        assert {path.name for path in folder.iterdir()} == {mine.name, "adapter-1.gguf", "adapter-00008.gguf"}


def test_a_linked_folder_is_refused(home, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "adapter-00001.gguf").write_text("x")
    with Store(home) as store:
        (home / "adapters").symlink_to(elsewhere)
        with pytest.raises(UsageError, match="adapters is a link to"):
            Adapters(store, "base")
    with Store(home, key=b"k" * 32):  # nor is it encrypted there
        assert (elsewhere / "adapter-00001.gguf").read_text() == "x"


def test_a_file_named_in_the_database_is_no_path(home, tmp_path):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    with Store(home) as store:
        adapters = Adapters(store, "base")
        with store.transaction() as db:
            for state in ("retired", "promoted"):
                db.execute(
                    "INSERT INTO adapters (file, base_sha256, created, rank, alpha, targets, dialogue_set_ids, state)"
                    " VALUES ('../../victim.txt', 'base', 0, 4, 8, 'q', '[1]', ?)",
                    (state,),
                )
        assert {found.path.parent for found in adapters.all()} == {home / "adapters"}
        adapters.rollback()
        assert adapters.drop_all({1, 2}) == [1] and victim.read_text() == "mine"


def test_what_others_put_beside_ours_is_not_erased(home):
    with Store(home) as store:
        Adapters(store, "base")
    kept = [home / name for name in ("adapters/mine.safetensors", "graphs/thesis.svg", "termux/notes")]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (home / "adapters" / "adapter-00001.gguf").write_bytes(b"weights")
    erase(home)
    assert sorted(kept) == left_in(home) and not (home / "adapters" / "adapter-00001.gguf").exists()


def test_writing_follows_no_link(home, tmp_path):
    from idletune.schedule.lock import learner_lock
    from idletune.settings import save_settings
    from idletune.state.files import Files

    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    with Store(home) as store:
        for name in ("training.part", "settings.part", "learner.lock"):
            (home / name).symlink_to(victim)
        Files(store).write(home / "training.npz", b"checkpoint")
        save_settings(home / "settings.json", {"rank": 4})
        with pytest.raises(UsageError, match="cannot open .*learner.lock"), learner_lock(home):
            pass
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", OWN_FILES)
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_in_the_place_of_one_of_ours_is_refused(home, name, make):
    Store(home).close()
    (home / name).unlink(missing_ok=True)
    make(home / name)
    with pytest.raises(UsageError, match=f"{name} is no regular file; move it away"):
        Store(home)
    assert os.path.lexists(home / name)
