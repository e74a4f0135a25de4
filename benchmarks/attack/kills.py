"""Kills at every change of a file in the whole life of a home.

The life is a row of chapters, each a process of its own: it opens the home, does one thing and closes it. Once it is
lived in full, to count the changes (kill_shim.c) and to keep the home as it was before each chapter. Then every
chapter is lived again from there and ended at its n-th change, or in the middle of it where that is a write; "before
the n-th" is "after the one before". Then the home is opened and held against what had been acknowledged.
"""

import ctypes
import json
import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

import faulty_life
from fault_injection import Home
from faulty_life import KEY, Child, answer, answered_sets, forget, observe, telling
from idletune.errors import IdleTuneError, UsageError
from idletune.privacy import export_data
from idletune.runtime import Runtime
from idletune.state.home import erase

from .found import Clock, Found, shared
from .prepared import foreign_adapter

SETTINGS = replace(faulty_life.SETTINGS, reply_tokens=12)
NEW_KEY = b"n" * 32
BEFORE, AFTER, HALF = 0, 1, 2  # of kill_shim.c
OPENING = 20  # changes of an opening that recovers something: where a second kill may fall
WRITES = ("write", "pwrite", "pwrite64", "sendfile", "sendfile64")


@dataclass
class Told(Home):
    """What a home's lives were told, beyond answers and forgotten sets."""

    gone: set[int] = field(default_factory=set)  # forgotten for certain
    keys: tuple = (None,)  # those that may open it
    erasing: bool = False
    exported: bool = False

    def hear(self, lines: list[str]) -> None:
        super().hear(lines)
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "forgotten":
                self.gone.add(int(rest))
            elif word == "rotating":
                self.keys = (self.key, NEW_KEY)
            elif word == "rotated":
                self.key, self.keys = NEW_KEY, (NEW_KEY,)
            self.erasing |= word == "erasing"
            self.exported |= word == "exported"

    def at(self, path: Path) -> "Told":
        """The same, of a copy of the home."""
        return replace(
            self, path=path, answered=dict(self.answered), forgotten=set(self.forgotten), gone=set(self.gone)
        )


def converse(runtime: Runtime, chance: random.Random, say) -> None:
    runtime.chat("hello bread")
    observe(runtime, chance, 6, say)
    answer(runtime, chance, say)


def learn(runtime: Runtime, chance: random.Random, say) -> None:
    observe(runtime, chance, 2, say)
    answer(runtime, chance, say)
    runtime.learn(bars=telling(say))


def never_ask(runtime: Runtime, chance: random.Random, say) -> None:
    observe(runtime, chance, 1, say)
    prompt = runtime.next_prompt()
    say(f"forgetting {prompt.dialogue_set_id}")
    runtime.queue.never_ask(prompt.id)
    say(f"forgotten {prompt.dialogue_set_id}")


def forget_one(runtime: Runtime, chance: random.Random, say) -> None:
    forget(runtime, answered_sets(runtime)[0], say)


def change_settings(runtime: Runtime, chance: random.Random, say) -> None:
    runtime.change_settings({"daily_limit": 900})


def rotate(runtime: Runtime, chance: random.Random, say) -> None:
    say("rotating")
    runtime.rotate_key(NEW_KEY)
    say("rotated")


def adopt(runtime: Runtime, chance: random.Random, say) -> None:
    runtime.adopt(foreign_adapter(runtime.model.path))


def roll_back(runtime: Runtime, chance: random.Random, say) -> None:
    if runtime.adapters.current():
        runtime.rollback()


def export(runtime: Runtime, chance: random.Random, say) -> None:
    _exported(runtime).unlink(missing_ok=True)
    export_data(runtime.store, _exported(runtime))
    say("exported")


CHAPTERS = {
    "first start": lambda *_: None,
    "chat, observe, answer": converse,
    "learn, promote": learn,
    "learn again": learn,
    "never ask": never_ask,
    "forget": forget_one,
    "settings": change_settings,
    "adopt": adopt,
    "learn from the adopted": learn,
    "roll back": roll_back,
    "export": export,
    "rotate key": rotate,
    "start with the new key": lambda *_: None,
    "erase": None,  # has no runtime
}


@dataclass(frozen=True)
class Point:
    """Where to kill: a life (0 plain, 1 encrypted), a chapter, its n-th change, and when."""

    life: int
    chapter: str
    n: int
    moment: int

    def __str__(self) -> str:
        return f"{('plain', 'encrypted')[self.life]}, {self.chapter}, change {self.n}{' half' * (self.moment == HALF)}"


class Kills:
    """Both lives and all the points in them."""

    def __init__(self, folder: Path, model: Path, seed: int):
        self.folder, self.model, self.seed = folder, model, seed
        self.before: dict[tuple[int, str], Told] = {}  # as the home was before each chapter
        self.points: list[Point] = []

    def live_through(self, found: Found) -> None:
        """Each life once, undisturbed: homes before each chapter, and the calls in it."""
        for life, key in enumerate((None, KEY)):
            told = Told(self.folder / f"life-{life}", key, keys=(key,))
            for chapter in CHAPTERS:
                self.before[life, chapter] = self._copied(told, self.folder / f"before-{life}-{len(self.before)}")
                calls = self._live(told, chapter, 0, BEFORE, found)
                self.points += [Point(life, chapter, n, BEFORE) for n in range(1, len(calls) + 1)]
                self.points += [Point(life, chapter, len(calls), AFTER)] * bool(calls)
                halves = [n for n, call in enumerate(calls, 1) if call.split()[0] in WRITES and "-shm" not in call]
                self.points += [Point(life, chapter, n, HALF) for n in halves]

    def kill(self, point: Point, found: Found) -> None:
        """Live the chapter up to the point, now and then kill the opening after it too, and look at what is left."""
        scratch = Path(tempfile.mkdtemp(dir=self.folder))
        told = self._copied(self.before[point.life, point.chapter], scratch / "home")
        known, chance = len(found.problems), random.Random(f"{self.seed} {point}")
        self._live(told, point.chapter, point.n, point.moment, found)
        found.cases[point.chapter] += 1
        if chance.random() < 0.2 and not told.erasing:
            self._live(told, "start with the new key", chance.randint(1, OPENING), BEFORE, found)
            found.outcomes["killed again in the opening after it"] += 1
        self._examine(told, found)
        found.problems[known:] = [f"{point}: {problem}" for problem in found.problems[known:]]
        shutil.rmtree(scratch)

    def _live(self, told: Told, chapter: str, n: int, moment: int, found: Found) -> list[str]:
        """Live a chapter in a child; hears what it tells. The calls that it made, where no kill is wanted."""
        with tempfile.TemporaryFile(dir=self.folder) as calls:
            fd = calls.fileno() if not n else -1
            child = Child(lambda say: self._chapter(told, chapter, (n, moment, fd), say))
            lines = child.end()
            told.hear(lines)
            # A key that another kill left undecided: the chapter tries the old one first.
            if not (n and told.keys[1:] and any("wrong key" in line for line in lines)):
                found.problems += [f"living: {line}" for line in lines if line.startswith(("died", "refused"))]
            found.outcomes["killed"] += bool(n) and "lived" not in lines
            calls.seek(0)
            return calls.read().decode(errors="replace").splitlines()

    def _chapter(self, told: Told, chapter: str, arms: tuple, say) -> None:
        faulty_life.tell_inner_stages(say)
        chance, n, moment, fd = random.Random(f"{self.seed} {chapter}"), *arms
        ctypes.CDLL(None).kill_shim_arm(os.fsencode(told.path), ctypes.c_long(n), moment, fd)
        if chapter == "erase":
            say("erasing")
            erase(told.path)
        else:
            with self._opened(told) as runtime:
                CHAPTERS[chapter](runtime, chance, say)
        say("lived")

    def _opened(self, told: Told) -> Runtime:
        """With the one key that opens it, of two after a kill in a change of keys."""
        for key in told.keys:
            try:
                return Runtime(told.path, self.model, SETTINGS, sequences=2, key=key)
            except UsageError as error:
                if key == told.keys[-1] or not any(sign in str(error) for sign in ("wrong key", "is encrypted")):
                    raise
        raise AssertionError("no key")

    def _examine(self, told: Told, found: Found) -> None:
        look = self._look_at_erased if told.erasing else self._look
        lines = Child(lambda say: look(told, say)).end()
        try:
            found.problems += json.loads(lines[-1])
        except (IndexError, ValueError):
            found.problem(f"the home does not open: {' | '.join(lines[-2:]) or 'no word'}")
        else:
            found.outcomes["opened again"] += 1

    def _look(self, told: Told, say) -> None:
        with self._opened(told) as runtime:
            problems = list(faulty_life.problems(runtime, told.answered, told.forgotten))
            problems += [f"set {id} is back" for id in told.gone & {s.id for s in runtime.buffer.sets()}]
            problems += _half_adopted(runtime)
            runtime.chat("still there?")
            if told.exported and _exported(runtime).exists():
                whole = all(map(json.loads, _exported(runtime).read_text().splitlines()))
                problems += [] if whole else ["half an export"]
        say(json.dumps(problems))

    def _look_at_erased(self, told: Told, say) -> None:
        """What a kill leaves of a home can be erased once more, and then no word of it is there."""
        problems = []
        if told.path.exists() and any(told.path.iterdir()):
            try:
                erase(told.path)
            except IdleTuneError as error:
                problems.append(f"cannot be erased again: {error}")
        left = [p for p in told.path.rglob("*") if p.is_file()] if told.path.exists() else []
        problems += [f"left by erase: {path.name}" for path in left]
        say(json.dumps(problems))

    def _copied(self, told: Told, path: Path) -> Told:
        if told.path.exists():
            shutil.copytree(told.path, path)
        return told.at(path)


def _exported(runtime: Runtime) -> Path:
    """Beside the home."""
    return runtime.store.home.with_name("export.jsonl")


def _half_adopted(runtime: Runtime):
    """An adopted file that training would start from, although no version that was made of it is kept."""
    kept = [a for a in runtime.adapters.all() if a.state in ("promoted", "retired") and "adopted" in a.reason]
    if not kept and (runtime.store.home / "adopted.gguf").exists():
        yield "training would start from an adapter that was never adopted"


def in_turn(points: list[Point], seed: int) -> list[Point]:
    """One point of each chapter after the other, in a seeded order within it: the short ones are done whole, before
    those of many checkpoints."""
    chapters: dict[tuple, list[Point]] = {}
    for point in random.Random(seed).sample(points, len(points)):
        chapters.setdefault((point.life, point.chapter), []).append(point)
    return [point for turn in zip_longest(*chapters.values()) for point in turn if point]


def attack(folder: Path, model: Path, seed: int, seconds: float, most: int | None = None) -> Found:
    """At most `most` kills, the chapters in turn, within about so many seconds."""
    found, clock = Found(), Clock(seconds)
    folder.mkdir()
    kills = Kills(folder, model, seed)
    kills.live_through(found)
    found.possible, points = len(kills.points), in_turn(kills.points, seed)

    def work(points: list[Point], found: Found) -> None:
        for point in clock.within(points):
            kills.kill(point, found)

    found.add(shared(points[:most], work, seconds))
    found.seconds = clock.spent
    return found
