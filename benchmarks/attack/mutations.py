"""Damaged files at every door: a damaged one is refused in words, or costs what was in it, and nothing else.

Each case copies a home that has learned, damages one file of it (or one row of its database, or a file given from
outside) and goes through what a user would do next. Only the two classes of user errors may come out; nothing crashes
or hangs, and nothing beside the home is touched.
"""

import hashlib
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faulty_life import KEY, telling
from idletune.chat_files import read_exchanges
from idletune.commands.cli import main
from idletune.errors import IdleTuneError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.model.bundle import check_bundle
from idletune.runtime import Runtime
from idletune.state.event_log import events
from idletune.state.keyring import read_key

from . import cases
from .found import Clock, Found, shared
from .mutators import ODD_VALUES, damaged, damaged_gguf, damaged_json
from .prepared import SETTINGS, Learned, foreign_adapter, outside, touched

SECONDS_A_CASE = 60.0  # far beyond what any takes: what is not over then hangs
KINDS = {  # weights: how many of each kind among a hundred
    "database file": 12,
    "database row": 14,
    "adapter file": 6,
    "adapter with its digest": 6,
    "adapter that is adopted": 8,
    "checkpoint": 3,
    "checkpoint with its digest": 4,
    "adopted file": 3,
    "settings": 10,
    "swapped files": 4,
    "model": 14,
    "manifest": 6,
    "key file": 5,
    "conversations": 5,
}


@dataclass
class Mutations:
    """Homes to damage, plain and encrypted, and what is given from outside."""

    folder: Path
    model: Path
    seed: int

    def __post_init__(self):
        self.homes = [Learned(self.folder / name, self.model, key) for name, key in (("plain", None), ("key", KEY))]
        self.foreign = foreign_adapter(self.model).read_bytes()

    def drawn(self, count: int) -> list[cases.Case]:
        """So many, the kinds in a seeded order."""
        chance = random.Random(self.seed)
        kinds = chance.choices(list(KINDS), list(KINDS.values()), k=count)
        return [self._case(number, kind) for number, kind in enumerate(kinds)]

    def _case(self, number: int, kind: str) -> cases.Case:
        damage: Callable = getattr(self, "_" + kind.replace(" ", "_"))

        def work() -> str | None:
            chance = random.Random(f"{self.seed} {number}")
            learned = self.homes[chance.randrange(2)]
            home = learned.copy(f"case-{number}")
            before = outside(home)
            try:
                wrong = damage(home, learned.key, chance)
            finally:
                changed = touched(before, home)
                shutil.rmtree(home.parent)
            if changed:
                return f"touched outside of the home: {', '.join(changed)}"
            return wrong

        return cases.Case(kind, f"number {number}", work)

    # What is damaged.

    def _database_file(self, home: Path, key, chance) -> str | None:
        name = chance.choice(("idletune.db", "idletune.db", "idletune.db-wal", "idletune.db-journal"))
        path = home / name
        path.write_bytes(damaged(path.read_bytes() if path.exists() else chance.randbytes(4096), chance))
        return self._use(home, key, chance)

    def _database_row(self, home: Path, key, chance) -> str | None:
        with sqlite3.connect(home / "idletune.db") as db:
            db.execute("PRAGMA foreign_keys = OFF"), db.execute("PRAGMA ignore_check_constraints = ON")
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            table = chance.choice([t for t in tables if not t.startswith("sqlite_stat")])
            if chance.random() < 0.05 and not table.startswith("sqlite"):
                db.execute(f"DROP TABLE {table}")
            else:
                _odd_value(db, table, chance)
        db.close()
        return self._use(home, key, chance)

    def _adapter_file(self, home: Path, key, chance) -> str | None:
        path = chance.choice(sorted((home / "adapters").iterdir()))
        path.write_bytes(damaged(path.read_bytes(), chance))
        return self._use(home, key, chance)

    def _adapter_with_its_digest(self, home: Path, key, chance) -> str | None:
        """As an earlier version, another program or a failing memory may have written it: the record agrees."""
        home, key = self._plain(home)
        path = chance.choice(sorted((home / "adapters").iterdir()))
        _put_adapter(home, path, damaged_gguf(path.read_bytes(), list(GgufFile(path).metadata), chance))
        return self._use(home, None, chance)

    def _adapter_that_is_adopted(self, home: Path, key, chance) -> str | None:
        path = home.parent / "given.gguf"
        keys = ["general.type", "adapter.type", "adapter.lora.alpha", "blk.0.attn_q.weight.lora_a"]
        path.write_bytes(damaged_gguf(self.foreign, keys, chance))
        try:
            with self._opened(home, key) as runtime:
                runtime.adopt(path)
        finally:
            path.unlink()
        return self._use(home, key, chance)

    def _checkpoint(self, home: Path, key, chance) -> str | None:
        path = home / "training.npz"
        path.write_bytes(damaged(path.read_bytes(), chance))
        return self._learns(home, key)

    def _checkpoint_with_its_digest(self, home: Path, key, chance) -> str | None:
        home, key = self._plain(home)
        path = home / "training.npz"
        content = damaged(path.read_bytes()[32:], chance)
        path.write_bytes(hashlib.sha256(content).digest() + content)
        return self._learns(home, key)

    def _adopted_file(self, home: Path, key, chance) -> str | None:
        (home / "adopted.gguf").write_bytes(damaged_gguf(self.foreign, ["adapter.lora.alpha"], chance))
        return self._use(home, key, chance, learn=chance.random() < 0.3)

    def _settings(self, home: Path, key, chance) -> str | None:
        path = home / "settings.json"
        with self._opened(home, key) as runtime:
            settings = runtime.status()["settings"]
        path.write_bytes(damaged_json(json.dumps(settings).encode(), chance))
        return self._commands(home, chance)

    def _swapped_files(self, home: Path, key, chance) -> str | None:
        files = [path for path in sorted(home.rglob("*")) if path.is_file()]
        one, other = chance.sample(files, 2)
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second), other.write_bytes(first)
        return self._use(home, key, chance)

    def _model(self, home: Path, key, chance) -> str | None:
        path = home.parent / "given.gguf"
        path.write_bytes(damaged_gguf(self.model.read_bytes(), list(GgufFile(self.model).metadata), chance))
        try:
            with Runtime(home.parent / "other", path, SETTINGS, sequences=2) as runtime:
                runtime.chat("hello")
        finally:
            path.unlink()
            shutil.rmtree(home.parent / "other", ignore_errors=True)
        return None

    def _manifest(self, home: Path, key, chance) -> str | None:
        bundle = home.parent / "bundle"
        bundle.mkdir()
        try:
            shutil.copy(self.model, bundle / "base.gguf")
            (bundle / "manifest.json").write_bytes(damaged_json(_manifest_of(bundle), chance))
            check_bundle(bundle / "base.gguf")
        finally:
            shutil.rmtree(bundle)
        return None

    def _key_file(self, home: Path, key, chance) -> str | None:
        path = home.parent / "key"
        good = chance.choice((b"k" * 32, b"6b" * 32 + b"\n"))
        path.write_bytes(chance.choice((damaged(good, chance), b"\xef\xbb\xbf" + good, good * 1000)))
        path.chmod(chance.choice((0o600, 0o600, 0o400, 0o644)))
        try:
            read_key(path)
        finally:
            path.unlink()
        return None

    def _conversations(self, home: Path, key, chance) -> str | None:
        path = home.parent / "talk.jsonl"
        line = json.dumps({"question": "is it open?", "response": "until six", "user": "ann"}).encode()
        lines = [line, damaged_json(line, chance), line]
        text = b"\n".join(lines)
        path.write_bytes(damaged(text, chance) if chance.random() < 0.3 else text)
        try:
            for exchange in read_exchanges(path):
                (exchange.question + exchange.response + exchange.user).encode()
        finally:
            path.unlink()
        return None

    # What is done then.

    def _opened(self, home: Path, key) -> Runtime:
        return Runtime(home, self.model, SETTINGS, sequences=2, key=key)

    def _plain(self, home: Path) -> tuple[Path, None]:
        """The plain home in the place of whatever was copied: only in a plain one can a digest be made to agree."""
        shutil.rmtree(home)
        shutil.copytree(self.homes[0].original, home)
        return home, None

    def _use(self, home: Path, key, chance, learn: bool = False) -> str | None:
        """What a user does; each step may be refused, the others are tried all the same when the home opens."""
        steps = [
            lambda runtime: runtime.status(),
            lambda runtime: runtime.chat("hello"),
            lambda runtime: (prompt := runtime.next_prompt()) and runtime.queue.accept(prompt.id),
            lambda runtime: runtime.adapters.current() and runtime.rollback(),
            lambda runtime: runtime.forget(1),
            lambda runtime: events(runtime.store),
        ]
        steps += [lambda runtime: runtime.learn()] if learn or chance.random() < 0.1 else []
        refused = None
        with self._opened(home, key) as runtime:
            for step in chance.sample(steps, len(steps)):
                try:
                    step(runtime)
                except IdleTuneError as error:
                    refused = error
        if refused:
            raise refused
        return None

    def _learns(self, home: Path, key) -> str | None:
        """A damaged checkpoint costs its own training and no more: learning goes on without it."""
        with self._opened(home, key) as runtime:
            report = runtime.learn(bars=telling(lambda _: None))
            return None if report.finished else "learning did not come to an end"

    def _commands(self, home: Path, chance) -> str | None:
        """Through the command line, which gives 2 for what a user can mend."""
        place = ["--home", str(home), "--model", str(self.model)]
        if "ITS1" in (home / "training.npz").read_bytes()[:4].decode("latin-1"):
            key = home.parent / "key"
            key.write_bytes(KEY)
            key.chmod(0o600)
            place += ["--key-file", str(key)]
        try:
            command = chance.choice((["status", "--json"], ["ask"], ["forget", "1"], ["tick"]))
            return None if main([*command, *place]) in (0, 2) else "another exit code"
        finally:
            (home.parent / "key").unlink(missing_ok=True)


def _odd_value(db: sqlite3.Connection, table: str, chance: random.Random) -> None:
    """One value of one row, or of all rows, replaced."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    column = chance.choice(columns)
    odd = [value for value in ODD_VALUES if isinstance(value, (str, float, type(None))) and value != "\ud83d"]
    odd += [-1, 0, 1 << 40, b"", b"\xff" * 40, b"ITS1" + bytes(60), "[" * 2000, '{"a": [1', "[1, 2]", "null", "NaN"]
    where = "" if chance.random() < 0.5 else f" WHERE rowid = (SELECT rowid FROM {table} ORDER BY random() LIMIT 1)"
    try:
        db.execute(f"UPDATE {table} SET {column} = ?{where}", (chance.choice(odd),))
    except sqlite3.Error:  # a unique or typed column: another case will do
        pass


def _put_adapter(home: Path, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with sqlite3.connect(home / "idletune.db") as db:
        db.execute(
            "UPDATE adapters SET file_sha256 = ? WHERE file = ?", (hashlib.sha256(content).hexdigest(), path.name)
        )
    db.close()


def _manifest_of(bundle: Path) -> bytes:
    base = bundle / "base.gguf"
    facts = {"bytes": base.stat().st_size, "sha256": hashlib.sha256(base.read_bytes()).hexdigest()}
    shape = ModelShape.of(GgufFile(base)).summary()
    return json.dumps({"format": 1, "files": {"base.gguf": facts}, "shape": shape}).encode()


def attack(folder: Path, model: Path, seed: int, seconds: float, count: int) -> Found:
    """So many cases, as long as there is time."""
    found, clock = Found(), Clock(seconds)
    folder.mkdir()
    mutations = Mutations(folder, model, seed)
    found.add(
        shared(mutations.drawn(count), lambda some, found: cases.run(some, SECONDS_A_CASE, clock, found), seconds)
    )
    found.possible = count
    found.seconds = clock.spent
    return found
