"""A home gets a key, changes it, and is killed while it does."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores
from idletune.errors import StorageError, UsageError
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.state import keyring
from idletune.state.annotation import AnnotationQueue
from idletune.state.cipher import data_key_of
from idletune.state.files import Files
from idletune.state.keyring import make_key, read_key
from idletune.state.store import Store

HIDDEN = 8
FIRST, SECOND = b"1" * 32, b"2" * 32
WORDS = b"plumbus"


def fill(store, count=6, capacity=64):
    buffer, queue = parts(store, capacity)
    for number in range(count):
        embedding = np.zeros(HIDDEN, np.float32)
        embedding[number % HIDDEN] = 1
        buffer.admit(DialogueSet(f"question plumbus {number}", "reply plumbus", "work", embedding, Scores(1, 1, 1)))
    queue.refill()
    for _ in range(2):
        queue.edit(queue.next().id, "answer plumbus")
    queue.never_ask(queue.next().id)
    Files(store).write(store.home / "training.npz", b"checkpoint plumbus" * 20)


def parts(store, capacity=64):
    queue = AnnotationQueue(store, daily_limit=10**6, quiet_from=0, quiet_until=0)
    return Buffer(store, make_policy("fifo"), capacity, hidden=HIDDEN), queue


def contents(store):
    buffer, queue = parts(store)
    sets = [(s.id, s.question, s.reply, s.response, s.domain, s.embedding.tobytes()) for s in buffer.sets()]
    return sets, queue.pending(), Files(store).read(store.home / "training.npz")


def traces(home, words=WORDS):
    """The files that hold the words."""
    return [path for path in home.rglob("*") if path.is_file() and words in path.read_bytes()]


def test_an_encrypted_home_shows_no_words_and_comes_back(home):
    with Store(home, key=FIRST) as store:
        fill(store)
        before = contents(store)
        assert not traces(home)
    with Store(home, key=FIRST) as store:
        assert contents(store) == before and store.encrypted
    assert not traces(home) and not traces(home, b"work")


def test_a_plain_home_is_encrypted_in_place(home):
    with Store(home) as store:
        fill(store)
        before = contents(store)
    assert traces(home)
    with Store(home, key=FIRST) as store:
        assert contents(store) == before
        assert not traces(home)


def test_a_wrong_key_and_a_missing_one_say_so(home):
    with Store(home, key=FIRST) as store:
        fill(store)
    with pytest.raises(UsageError, match="wrong key"):
        Store(home, key=SECOND)
    with pytest.raises(UsageError, match="is encrypted; give its key"):
        Store(home)
    with pytest.raises(UsageError, match="holds 5 bytes; a key is 32"):
        Store(home, key=b"short")
    with Store(home, key=FIRST) as store:
        assert len(contents(store)[0]) == 5


def test_after_a_change_only_the_new_key_opens(home):
    with Store(home, key=FIRST) as store:
        fill(store)
        before, old = contents(store), store.row("SELECT wrapped FROM data_keys")["wrapped"]
        store.rotate_key(SECOND)
        assert contents(store) == before
        assert [row["id"] for row in store.rows("SELECT id FROM data_keys")] == [2]
        assert data_key_of((home / "training.npz").read_bytes()) == 2
        assert not traces(home, old), "the old data key is still in the file, under the old key"
    with pytest.raises(UsageError, match="wrong key"):
        Store(home, key=FIRST)
    with Store(home, key=SECOND) as store:
        assert contents(store) == before


def test_never_ask_holds_through_every_change_of_keys(home):
    with Store(home) as store:
        fill(store)
        hashes = {row[0] for row in store.rows("SELECT question_hash FROM never_ask")}
    for key in (FIRST, FIRST, SECOND):
        with Store(home, key=FIRST) as store:
            store.rotate_key(key)
            assert not hashes & {row[0] for row in store.rows("SELECT question_hash FROM never_ask")}
            buffer, queue = parts(store)
            kept = {s.question for s in buffer.sets()}
            unwanted = next(question for n in range(6) if (question := f"question plumbus {n}") not in kept)
            embedding = np.eye(HIDDEN, dtype=np.float32)[0]
            id = buffer.admit(DialogueSet(unwanted.upper(), "again", "work", embedding, Scores(1, 1, 1))).id
            queue.refill()
            assert id not in {p.dialogue_set_id for p in queue.pending()}
            buffer.remove(id)


def test_another_process_with_the_old_key_writes_nothing(home):
    with Store(home, key=FIRST) as old, Store(home, key=FIRST) as new:
        fill(old)
        new.rotate_key(SECOND)
        for write in (lambda: old.count("seen"), lambda: parts(old), lambda: Files(old).write(home / "x.gguf", b"x")):
            with pytest.raises(StorageError, match="its key was changed by another IdleTune"):
                write()
    with Store(home, key=SECOND) as store:
        assert len(contents(store)[0]) == 5


@pytest.mark.slow
def test_a_change_that_cannot_remove_every_trace_says_that_the_new_key_is_in_force(home):
    with Store(home, key=FIRST) as store:
        fill(store)
    with Store(home, key=FIRST) as store, Store(home, key=FIRST, busy_seconds=0.1) as other:
        other.db.execute("BEGIN")
        other.rows("SELECT * FROM dialogue_sets")  # a reader that keeps the log from being emptied
        with pytest.raises(UsageError, match="the new key is in force, keep it; .* until the next start: .*close that"):
            store.rotate_key(SECOND)
    with Store(home, key=SECOND) as store:
        assert len(contents(store)[0]) == 5 and not store.counter("scrub_owed")


@pytest.mark.slow
def test_processes_may_bring_the_first_key_at_once(home):
    with Store(home) as store:
        fill(store)
    code = "import sys; from idletune.state.store import Store\n"
    code += "Store(sys.argv[1], key=b'1' * 32, busy_seconds=120).close()"
    openers = [subprocess.Popen([sys.executable, "-c", code, str(home)]) for _ in range(4)]
    assert [opener.wait() for opener in openers] == [0] * 4
    with Store(home, key=FIRST) as store:
        assert len(contents(store)[0]) == 5 and not traces(home)


@pytest.mark.parametrize("step", ["files", "old keys", "scrub"])
def test_an_interrupted_change_is_finished_at_the_next_start(home, monkeypatch, step):
    with Store(home) as store:
        fill(store)
        before = contents(store)
    stop = {"files": (keyring, "finish"), "old keys": (Files, "write"), "scrub": (Store, "scrub")}[step]
    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        store = Store(home)

        def cut(*_):
            raise RuntimeError("killed")

        patched.setattr(*stop, cut)
        try:
            store.rotate_key(FIRST)
        finally:
            store.db.close()
    with Store(home, key=FIRST) as store:
        assert contents(store) == before
        assert not traces(home) and not store.counter("scrub_owed")
        assert len(store.rows("SELECT id FROM data_keys")) == 1


def be_killed(home):
    """The victim: changes the key for ever, telling which it is about to use."""
    keys = [bytes([n]) * 32 for n in range(256)]
    current = int(os.environ["KEY"])
    with Store(home, key=keys[current]) as store:
        while True:
            current = (current + 1) % 256
            print(current, flush=True)
            store.rotate_key(keys[current])


@pytest.mark.slow
def test_a_kill_leaves_the_old_key_or_the_new(home, tmp_path):
    with Store(home, key=bytes(32)) as store:
        fill(store)
        before = contents(store)
    chance, current = random.Random(3), 0
    for begun in (1, 2, 3, 1, 2, 3):  # changes that are under way when the kill comes, however slow the machine is
        numbers = _killed(home, tmp_path / "said", current, begun, chance.uniform(0, 0.05))
        for candidate in (numbers[-1], (numbers[-1] - 1) % 256):
            try:
                store = Store(home, key=bytes([candidate]) * 32)
                break
            except UsageError as error:
                assert "wrong key" in str(error)
        with store:
            assert contents(store) == before
        current = candidate
    assert not traces(home)


def _killed(home, said: Path, current: int, begun: int, seconds: float) -> list[int]:
    """The keys that a victim began to change to, killed `seconds` after it began with the `begun`-th."""
    with said.open("wb") as out:
        victim = subprocess.Popen(
            [sys.executable, __file__, str(home)], stdout=out, env={**os.environ, "KEY": str(current)}
        )
        while said.read_bytes().count(b"\n") < begun:
            assert victim.poll() is None
            time.sleep(0.005)
        time.sleep(seconds)
        victim.kill()
        victim.wait()
    return [int(line) for line in said.read_text().split()]


def test_key_files(tmp_path):
    made = make_key(tmp_path / "key")
    assert read_key(tmp_path / "key") == made and (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="cannot write the key file"):
        make_key(tmp_path / "key")
    (tmp_path / "raw").write_bytes(bytes(range(32)))
    (tmp_path / "raw").chmod(0o400)
    assert read_key(tmp_path / "raw") == bytes(range(32))
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(UsageError, match="has mode 0644, others may read it; chmod 600"):
        read_key(tmp_path / "key")
    (tmp_path / "short").write_text("password")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(UsageError, match="holds 8 bytes; a key is 32"):
        read_key(tmp_path / "short")
    with pytest.raises(UsageError, match="cannot read the key file"):
        read_key(tmp_path / "none")


if __name__ == "__main__":
    from pathlib import Path

    be_killed(Path(sys.argv[1]))


def test_a_key_file_is_a_small_regular_file_of_ones_own(tmp_path):
    """Looked at before it is opened: a FIFO would wait for ever, a device may do anything."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"0" * 2000)
    (tmp_path / "large").chmod(0o600)
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("fifo", "folder", "/dev/zero", "/dev/tty", "link"):
        with pytest.raises(UsageError, match="cannot read the key file .*; name one of yours"):
            read_key(tmp_path / name)
    with pytest.raises(UsageError, match="has 2000 bytes, more than 1024"):
        read_key(tmp_path / "large")
    for name in ("a\0b", "\ud800", "x" * 300):
        with pytest.raises(UsageError, match="name one of yours"):
            read_key(tmp_path / name)


def test_a_key_file_of_another_user_is_refused(tmp_path, monkeypatch):
    key = tmp_path / "key"
    make_key(key)
    monkeypatch.setattr(os, "geteuid", lambda: key.stat().st_uid + 1)
    with pytest.raises(UsageError, match=f"belongs to another user .{key.stat().st_uid}."):
        read_key(key)


@pytest.mark.parametrize("before, after", [(b"\xef\xbb\xbf", b"\r\n"), (b"", b""), (b"  ", b"\n\n")])
def test_what_editors_put_around_the_digits_is_no_part_of_the_key(tmp_path, before, after):
    key = tmp_path / "key"
    key.write_bytes(before + FIRST.hex().upper().encode() + after)
    key.chmod(0o600)
    assert read_key(key) == FIRST
