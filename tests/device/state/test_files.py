"""Private files: whole or not at all, and no plain byte of an encrypted one on the disk."""

import errno
import os
from pathlib import Path

import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.state import files as files_module
from idletune.state.files import PLAIN, Files
from idletune.state.store import Store

DATA = b"plumbus plumbus " * 100


@pytest.fixture
def encrypted(home):
    with Store(home, key=b"k" * 32) as store:
        yield Files(store)


def test_plain_files_stay_as_they_are(tmp_path):
    PLAIN.write(tmp_path / "a.npz", DATA)
    assert (tmp_path / "a.npz").read_bytes() == DATA == PLAIN.read(tmp_path / "a.npz")
    with PLAIN.readable(tmp_path / "a.npz") as path:
        assert path == tmp_path / "a.npz"
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_an_encrypted_file_is_read_from_memory_only(encrypted, home, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path = home / "a.gguf"
    encrypted.write(path, DATA)
    for _ in range(2):
        with encrypted.readable(path) as plain:
            assert plain.read_bytes() == DATA and str(plain).startswith("/proc/self/fd/")
            on_disk = [p for p in (*home.rglob("*"), *tmp_path.rglob("*")) if p.is_file()]
            assert not [p for p in on_disk if b"plumbus plumbus " in p.read_bytes()]
    assert not Path(plain).exists()
    # Where Python was built without the call, the kernel is asked directly.
    monkeypatch.delattr(os, "memfd_create")
    with encrypted.readable(path) as plain:
        assert plain.read_bytes() == DATA
    monkeypatch.setattr(files_module.platform, "machine", lambda: "vax")
    with pytest.raises(UsageError, match="no files in memory"), encrypted.readable(path):
        pass


def test_a_changed_swapped_or_plain_file_is_refused(encrypted, home):
    encrypted.write(home / "a.gguf", DATA)
    (home / "b.gguf").write_bytes((home / "a.gguf").read_bytes())
    with pytest.raises(DamagedDataError, match="b.gguf was changed"):
        encrypted.read(home / "b.gguf")
    (home / "a.gguf").write_bytes((home / "a.gguf").read_bytes()[:-1])
    with pytest.raises(DamagedDataError, match="a.gguf was changed"):
        encrypted.read(home / "a.gguf")
    (home / "a.gguf").write_bytes(DATA)
    with pytest.raises(DamagedDataError):
        encrypted.read(home / "a.gguf")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_leaves_the_file_before(encrypted, home, monkeypatch, call, number):
    encrypted.write(home / "a.npz", DATA)

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(UsageError, match="no room" if number == errno.ENOSPC else "cannot write"):
        encrypted.write(home / "a.npz", b"new")
    monkeypatch.undo()
    assert encrypted.read(home / "a.npz") == DATA and not list(home.glob("*.part"))
