"""Erasing a home. (Its mode: test_store.py.)"""

import pytest
from idletune.errors import UsageError
from idletune.state.home import erase
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


def test_what_is_erased_is_overwritten_first(home):
    Store(home).close()
    (home / "training.npz").write_bytes(b"plumbus" * 100)
    link = home.parent / "link"
    link.hardlink_to(home / "training.npz")
    erase(home)
    assert link.read_bytes() == bytes(700)
