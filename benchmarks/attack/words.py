"""Marker words: looked for in every byte of home, temporary folders and open files, while a home lives.

In a home with a key no marker word is in any file at any time. In a plain one those of a forgotten set, and of a
question that is never to be asked, are gone when the call has returned; all are gone after the first key and after
erase. A child lives; its parent looks again and again, whatever the child does.
"""

import os
import random
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from faulty_life import KEY, Child, answer, telling
from idletune.dialogue import TokenEmbeddings
from idletune.model.reply import Reply
from idletune.runtime import Runtime
from idletune.state.home import erase

from .found import Clock, Found
from .prepared import SETTINGS

WORDS = {kind: f"{kind}Plumbus7" for kind in ("system", "asked", "replied", "better", "chatted", "never", "again")}
PLAIN_FILE = b"GGUF\3\0\0\0"  # an adapter that is not encrypted


@dataclass
class Look:
    """What was seen where."""

    files: int = 0
    looks: int = 0
    seen: set = field(default_factory=set)


def files_of(folders: list[Path], process: int):
    """(name, content) of every file in the folders, and of every file the process has open, deleted ones too."""
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                if path.is_file() and not path.is_symlink():
                    yield str(path.relative_to(folder)), path.read_bytes()
            except OSError:  # it went while we looked
                pass
    try:
        opened = list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return
    for descriptor in opened:
        try:
            target = os.readlink(descriptor)
            if target.startswith("/memfd:") or target.endswith(" (deleted)"):
                with open(descriptor, "rb") as file:
                    yield target, file.read()
        except OSError:
            pass


def look(folders: list[Path], process: int, words: dict[str, bytes], look: Look) -> None:
    look.looks += 1
    for name, content in files_of(folders, process):
        look.files += 1
        look.seen |= {(kind, name) for kind, word in words.items() if word in content}


class Life:
    """A child's life in a home; it tells each step as it ends."""

    def __init__(self, home: Path, model: Path, key: bytes | None):
        self.home, self.model, self.key = home, model, key

    def __call__(self, say) -> None:
        os.environ["TMPDIR"] = str(self.home.parent / "tmp")
        import tempfile

        tempfile.tempdir = None
        settings = replace(SETTINGS, system=f"you are {WORDS['system']}")
        with Runtime(self.home, self.model, settings, sequences=2, key=self.key) as runtime:
            runtime.change_settings({"system": settings.system})
            self._talk(runtime, say)
            runtime.learn(bars=telling(lambda _: None))
            self._step(say, "learned")
            runtime.chat(f"do you know {WORDS['chatted']}?")
            self._step(say, "chatted")
            self._refuse_one(runtime)
            self._step(say, "never asked")
            for kept in runtime.buffer.sets():
                if any(WORDS[kind] in f"{kept.question} {kept.reply} {kept.response}" for kind in ("asked", "chatted")):
                    runtime.forget(kept.id)
            self._step(say, "forgotten")
            runtime.rotate_key(b"n" * 32)
            self._step(say, "rotated")
        erase(self.home)
        self._step(say, "erased")

    def _talk(self, runtime: Runtime, say) -> None:
        rng = np.random.default_rng(0)
        for number in range(8):
            words = f" {WORDS['asked']}" if number == 2 else ""
            vectors = TokenEmbeddings(*rng.standard_normal((2, 3, runtime.model.hidden)).astype(np.float32))
            reply = Reply(f"reply {number} {WORDS['replied'] if number == 2 else ''}", [1], vectors, "end", 4)
            runtime.observe(f"question {number}{words}", reply)
        while (prompt := runtime.next_prompt()) is not None:
            word = WORDS["better"] if WORDS["asked"] in prompt.question else "aaaa"
            runtime.queue.edit(prompt.id, f"{word} aaaa {prompt.id}")
        self._step(say, "answered")

    def _refuse_one(self, runtime: Runtime) -> None:
        answer(runtime, random.Random(0), lambda _: None)
        rng = np.random.default_rng(1)
        vectors = TokenEmbeddings(*rng.standard_normal((2, 3, runtime.model.hidden)).astype(np.float32))
        runtime.observe(f"why {WORDS['never']}?", Reply(f"so {WORDS['again']}", [1], vectors, "end", 4))
        runtime.queue.never_ask(runtime.next_prompt().id)

    def _step(self, say, name: str) -> None:
        say(name)
        time.sleep(0.3)  # for a look of the parent's


# What has to be gone once the step was told, in a plain home.
GONE = {
    "never asked": ("never", "again"),
    "forgotten": ("never", "again", "asked", "replied", "better", "chatted"),
    "rotated": tuple(WORDS),
    "erased": tuple(WORDS),
}


def watch_life(folder: Path, model: Path, key: bytes | None, kill_at: float | None, found: Found) -> None:
    """Look at everything while the child lives; `kill_at` seconds after its beginning it is killed."""
    folder.mkdir()
    (folder / "tmp").mkdir()
    encoded = {kind: word.encode() for kind, word in WORDS.items()}
    kind = f"{'encrypted' if key else 'plain'}, {'killed' if kill_at else 'whole'}"
    child, looked, told, began = Child(Life(folder / "home", model, key)), Look(), [], time.monotonic()
    os.set_blocking(child.reading, False)
    while (alive := os.waitid(os.P_PID, child.id, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None) or not looked.looks:
        before = _told(child, told)
        at_once = Look()
        look([folder], child.id, encoded | ({"plain adapter": PLAIN_FILE} if key else {}), at_once)
        looked.looks, looked.files = looked.looks + 1, looked.files + at_once.files
        seen = {s for s in at_once.seen if not (s[0] == "plain adapter" and s[1].startswith("/memfd:"))}
        _judge(found, kind, seen, before, key)
        if alive and kill_at and time.monotonic() - began > kill_at:
            child.kill()
        time.sleep(0.02)
    lines = told + child.end()
    found.problems += [f"{kind}: {line}" for line in lines if line.startswith(("died", "refused"))]
    if not kill_at and "erased" not in lines and not any(line.startswith(("died", "refused")) for line in lines):
        found.problem(f"{kind}: the life did not end: {lines[-1:]}")
    _judge(found, kind, _seen_after(folder, encoded), lines, key)
    found.cases[kind] += 1
    found.outcomes["looks"] += looked.looks
    found.outcomes["files read"] += looked.files


def _told(child: Child, told: list[str]) -> list[str]:
    try:
        told += os.read(child.reading, 65536).decode().splitlines()
    except BlockingIOError:
        pass
    return list(told)


def _judge(found: Found, kind: str, seen: set, told: list[str], key) -> None:
    gone = set(WORDS) | {"plain adapter"} if key else set().union(*(GONE.get(step, ()) for step in told))
    for word, name in sorted(seen):
        step = told[-1] if told else "the first start"
        problem = f"{kind}: {word} is in {name} (last step: {step})"
        if word in gone and problem not in found.problems:
            found.problem(problem)


def _seen_after(folder: Path, words: dict[str, bytes]) -> set:
    found = Look()
    look([folder], 0, words, found)
    return found.seen


CORE = """
import ctypes, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
from idletune.commands.cli import main
main(["status", "--home", sys.argv[1], "--model", sys.argv[2]])
print("limit", resource.getrlimit(resource.RLIMIT_CORE)[0], "dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
sys.stdout.flush()
os.abort()
"""


def core_dump(folder: Path, model: Path, found: Found) -> None:
    """A crash leaves no image of the memory, though the shell allows one."""
    folder.mkdir()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    code = CORE if hard == resource.RLIM_INFINITY else CORE.replace("resource.RLIM_INFINITY", str(hard))
    command = [sys.executable, "-c", code, str(folder / "home"), str(model)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found.cases["core dump"] += 1
    if "limit 0 dumpable 0" not in done.stdout:
        found.problem(f"core dump: {done.stdout.splitlines()[-1:]} {done.stderr.splitlines()[-1:]}")
    if cores := [path.name for path in folder.iterdir() if path.name.startswith("core")]:
        found.problem(f"core dump: {cores} was written")


def attack(folder: Path, model: Path, seed: int, seconds: float, count: int) -> Found:
    """Whole lives, plain and encrypted, then `count` that are killed at a random moment, as long as there is time."""
    found, clock, chance = Found(possible=3 + count), Clock(seconds), random.Random(seed)
    folder.mkdir()
    core_dump(folder / "core", model, found)
    for name, key in (("plain", None), ("encrypted", KEY)):
        watch_life(folder / name, model, key, None, found)
    for number in clock.within(range(count)):
        watch_life(folder / "killed", model, (None, KEY)[number % 2], chance.uniform(0.1, 4.0), found)
        shutil.rmtree(folder / "killed")
    found.seconds = clock.spent
    return found
