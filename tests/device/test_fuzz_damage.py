"""Damaged state of every kind, by a fixed seed: refused in words or worked around, and nothing is lost by it."""

import hashlib
import io
import json
import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from idletune.clock import FakeClock
from idletune.errors import DamagedDataError, IdleTuneError
from idletune.learning.adapters import Adapters
from idletune.learning.training_runs import count_answers
from idletune.model.bundle import check_bundle
from idletune.privacy import export_data
from idletune.schedule.device_state import DeviceState
from idletune.schedule.scheduler import Scheduler
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.settings import Settings, load_settings
from idletune.state.annotation import AnnotationQueue
from idletune.state.comparisons import compared_sets
from idletune.state.event_log import events
from idletune.state.run_records import begin_run, open_run
from idletune.state.store import Store
from idletune.state.verdicts import dropped_since_verdict, newest_verdict
from loop import SETTINGS, answer_all, observe, open_tiny_runtime
from stops import InTraining

HIDDEN = 64
ODD = (None, -1, 2**62, 1e300, float("inf"), "", "x", "[", "{}", "[1,", "null", '"a"', "[null]", "../../victim.txt")
ODD += ("\0", "\ufeff", b"", b"\xff\xfe", b"ITS1" + bytes(40), "9" * 5000, "[" * 5000)
DECISIONS = ("moments", "slices", "window_decisions", "verdicts")  # tables that decisions read
CHANGES = ("cell", "cell", "cell", "decision", "drop", "byte", "settings", "delete")


class Source:
    def read(self):
        return DeviceState(True, 80, 30.0, 0, 0.4, True, 2000, 5000)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory, tiny_path):
    """A home with answers, a promoted adapter, an open round and its checkpoint; plain, for an encrypted value that was
    changed does not open (test_cipher.py)."""
    home = tmp_path_factory.mktemp("lived") / "home"
    home.mkdir(mode=0o700)
    with open_tiny_runtime(tiny_path, home)() as runtime:
        observe(runtime, 8)
        answer_all(runtime)
        runtime.learn()
        observe(runtime, 8, start=8)
        answer_all(runtime)
        assert not runtime.learn(**InTraining().arguments).finished
        observe(runtime, 2, start=16)
        runtime.next_prompt()
        runtime.change_settings({"rank": 4})
        Scheduler(runtime.store, SETTINGS, Source(), FakeClock(1.8e9)).tick(lambda _: "promoted: better")
    return home


def damage(home: Path, chance: random.Random) -> str:
    """Changes one thing; says what."""
    kind = chance.choice(CHANGES)
    if kind == "settings":
        text = bytearray((home / "settings.json").read_bytes())
        text[chance.randrange(len(text))] = chance.randrange(256)
        (home / "settings.json").write_bytes(text)
        return f"settings {bytes(text)}"
    if kind == "byte":
        data = bytearray((home / "idletune.db").read_bytes())
        place = chance.randrange(len(data))
        data[place] ^= 1 << chance.randrange(8)
        (home / "idletune.db").write_bytes(data)
        return f"byte {place}"
    db = sqlite3.connect(home / "idletune.db", isolation_level=None)
    try:
        db.execute("PRAGMA ignore_check_constraints = ON")
        return _change_row(db, kind, chance)
    finally:
        db.close()


def _change_row(db, kind: str, chance: random.Random) -> str:
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    table = chance.choice(DECISIONS if kind == "decision" else [t for t in tables if not t.startswith("sqlite")])
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    rows = db.execute(f"SELECT {columns[0]} FROM {table} ORDER BY 1").fetchall()
    if kind == "drop":
        db.execute(f"DROP TABLE {table}")
    elif not rows:
        return "nothing: the table is empty"
    elif kind == "delete":
        db.execute(f"DELETE FROM {table} WHERE {columns[0]} = ?", chance.choice(rows))
    else:
        return _change_cell(db, table, chance.choice(columns), chance)
    return f"{kind} {table}"


def _change_cell(db, table: str, column: str, chance: random.Random) -> str:
    key = next(db.execute(f"PRAGMA table_info({table})"))[1]
    cells = db.execute(f"SELECT {key}, {column} FROM {table} ORDER BY 1").fetchall()
    where, old = chance.choice(cells)
    value = chance.choice(ODD) if chance.random() < 0.7 else _flipped(old, chance)
    try:
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, where))
    except sqlite3.IntegrityError:
        return "nothing: the schema holds"
    return f"{table}.{column} of {where} = {value!r:.80}"


def _flipped(value, chance: random.Random):
    if isinstance(value, str) and value:
        at = chance.randrange(len(value))
        return value[:at] + chr(chance.randrange(1, 0xD7FF)) + value[at + 1 :]
    return chance.choice(ODD)


def live(home: Path) -> None:
    """What a day does with the state, each part of it by itself."""
    clock = FakeClock(1.8e9 + 86_400)
    settings = Settings(**{**vars(SETTINGS), **load_settings(home / "settings.json")})
    with Store(home, lambda: clock.now().wall) as store:
        base = store.rows("SELECT base_sha256 FROM adapters LIMIT 1")
        queue = AnnotationQueue(store, 100, 0, 0)

        def learn(_):
            return f"{open_run(store)} {count_answers(store, 5)}"

        def adapters():
            found = Adapters(store, base[0][0] if base else "base")
            serving = found.current()
            if serving:
                with found.readable(serving):
                    pass
            return found.all(), found.in_state("retired")

        def buffer():
            kept = Buffer(store, make_policy("fifo"), 64, hidden=HIDDEN)
            return kept.sets(), kept.nearest(np.ones(HIDDEN, np.float32), 3)

        out = home.parent / "export.jsonl"
        for part in (
            adapters,
            buffer,
            lambda: (queue.refill(), queue.next(), queue.pending(), queue.asked_today()),
            lambda: Scheduler(store, settings, Source(), clock).tick(learn),
            lambda: Scheduler(store, settings, Source(), clock).status(),
            lambda: (open_run(store), count_answers(store, 5)),
            lambda: (events(store), newest_verdict(store), dropped_since_verdict(store), compared_sets(store, 1)),
            lambda: export_data(store, out),
        ):
            try:
                part()
            except IdleTuneError:
                pass
        out.unlink(missing_ok=True)


def answers(home: Path) -> int | None:
    """How many answers a plain SQLite finds; None where it finds no table of them."""
    db = sqlite3.connect(home / "idletune.db")
    try:
        return db.execute("SELECT count(*) FROM dialogue_sets WHERE response IS NOT NULL").fetchone()[0]
    except sqlite3.DatabaseError:
        return None
    finally:
        db.close()


def test_damaged_databases_and_settings(lived_in, tmp_path):
    chance, refused = random.Random(34), 0
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    for number in range(200):
        home = tmp_path / "a" / "home"
        shutil.copytree(lived_in, home)
        what = damage(home, chance)
        before, copy = answers(home), (home / "idletune.db").read_bytes()
        try:
            live(home)
        except IdleTuneError:
            refused += 1
            assert what.startswith(("settings", "nothing")) or (home / "idletune.db").read_bytes() == copy, what
        except Exception as error:
            raise AssertionError(f"change {number}: {what}") from error
        assert answers(home) == before and victim.read_text() == "mine", what
        shutil.rmtree(tmp_path / "a")
    assert 20 < refused < 180


def test_a_checkpoint_with_a_valid_digest_and_other_content(lived_in, tiny_path, tmp_path):
    """It costs its own training, not every night's."""
    home = tmp_path / "home"
    shutil.copytree(lived_in, home)
    content = (home / "training.npz").read_bytes()[32:]
    with open_tiny_runtime(tiny_path, home)() as runtime:
        for number, odd in enumerate(_odd_checkpoints(content)):
            (home / "training.npz").write_bytes(hashlib.sha256(odd).digest() + odd)
            assert not runtime.learn(**InTraining().arguments).finished, "it trains from the beginning, in words"
            told = events(runtime.store, 100, "checkpoint")
            assert len(told) == number + 1 and "holds no training state" in told[0].detail["problem"]
        odd = b"ITS1" + bytes(80)  # looks encrypted, in a home that is not
        (home / "training.npz").write_bytes(odd)
        assert runtime.learn().finished


def _odd_checkpoints(content: bytes):
    yield b""
    yield content[:-100]
    yield b"\x93NUMPY" + content
    with np.load(io.BytesIO(content)) as kept:
        arrays = {name: kept[name] for name in kept.files}
    for change in (
        {"parameters": arrays["parameters"][:-1]},
        {"parameters": np.full_like(arrays["parameters"], np.nan)},
        {"second": -np.ones_like(arrays["second"])},
        {"gradient": arrays["gradient"].astype(np.float64)},
        {"counts": np.array([10**6, 1])},
        {"counts": np.array([-1, 0])},
        {"counts": np.array(["a", "b"])},
        {"counts": np.array([1])},
        {"mean_hidden": np.ones((3, 3), np.float32)},
        {"parameters": np.array({"a": 1}, dtype=object)},
    ):
        file = io.BytesIO()
        np.savez(file, **{**arrays, **change})
        yield file.getvalue()
    for missing in ("counts", "fingerprint"):
        file = io.BytesIO()
        np.savez(file, **{name: array for name, array in arrays.items() if name != missing})
        yield file.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "1"},
        {"format": None},
        {"format": 10**400},
        {"files": {"base.gguf": {"bytes": 1, "sha256": None}}},
        {"files": {"base.gguf": [1]}},
        *(
            {"files": {name: {"bytes": 1, "sha256": ""}}}
            for name in ("/etc/passwd", "a/../../b", "a\0b", "", "n" * 9999)
        ),
        *({"files": {name: {"bytes": 1, "sha256": ""}}} for name in ("a\nb", "../" * 400 + "a", "a/" * 300 + "b")),
        {"shape": []},
        {"nested": "HERE"},
    ],
)
def test_manifests(tmp_path, tiny_path, change):
    shutil.copy(tiny_path, tmp_path / "base.gguf")
    sound = {"format": 1, "shape": {}, "files": {"base.gguf": {"bytes": 1, "sha256": ""}}}
    files = {
        **change.get("files", {}),
        **({} if "files" in change and "base.gguf" in change["files"] else sound["files"]),
    }
    text = json.dumps({**sound, **change, "files": files}).replace('"HERE"', "[" * 100_000)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(IdleTuneError) as refused:
        check_bundle(tmp_path / "base.gguf")
    assert len(str(refused.value)) < 500


@pytest.mark.slow
def test_a_missing_table_index_or_trigger_is_told(home):
    with Store(home) as store:
        begin_run(store, [1], [2])
        names = store.rows("SELECT type, name FROM sqlite_master WHERE type != 'view' AND name NOT LIKE 'sqlite_%'")
    content = (home / "idletune.db").read_bytes()
    for kind, name in names:
        db = sqlite3.connect(home / "idletune.db")
        db.execute(f"DROP {kind} {name}")
        db.commit()
        db.close()
        with pytest.raises(DamagedDataError, match="not a sound IdleTune database"):
            Store(home).close()
        for path in home.glob("idletune.db*"):
            path.unlink()
        (home / "idletune.db").write_bytes(content)
    Store(home).close()
