"""Foreign things: links, devices and FIFOs where files are expected, paths in the database, hostile models.

All that may happen is a refusal in words or a normal run; what a link or a path leads to stays as it is.
"""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from idletune.errors import IdleTuneError
from idletune.runtime import Runtime
from idletune.state.home import erase
from tiny_model import write_tiny_model

from . import cases
from .found import Clock, Found
from .mutations import _put_adapter
from .prepared import SETTINGS, VICTIM, Learned, outside, touched, write_adapter

SECONDS_A_CASE = 30.0
FILES = ("idletune.db", "settings.json", "training.npz", "adopted.gguf", "learner.lock")
DEVICES = ("/dev/zero", "/dev/random", "/dev/full", "/dev/ptmx", "/proc/self/mem", "/proc/kmsg", "/", "/dev/null")
ODD_NAMES = ("a\0b", "\ud83d", "~nobody/key", "x" * 5000, "key\n", "../" * 500 + "etc/passwd")
PATHS = ("../../victim.txt", "../victim.txt", "/{beside}/victim.txt", "../../victim/mine.safetensors", "..", ".", "")
TEMPLATES = {
    "nested ranges": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "long output": "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
    "multiplied text": "{{ 'x' * 9999999999 }}",
    "multiplied twice": "{% set a = 'x' * 99999 %}{{ a * 99999 }}",
    "doubled in a loop": "{% set n = namespace(a='xx') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "doubled list": "{% set n = namespace(a=[1]) %}{% for i in range(99) %}{% set n.a = n.a + n.a %}{% endfor %}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "power in pieces": "{% set n = namespace(a=9) %}{% for i in range(99) %}{% set n.a = n.a * n.a %}{% endfor %}",
    "lipsum": "{{ lipsum(n=9999999) }}",
    "padded": "{{ 'x'.center(9999999999) }}{{ '%9999999999d' % 1 }}",
    "formatted": "{{ '{:>9999999999}'.format(1) }}",
    "padded by a filter": "{{ 'x' | center(9999999999) }}",
    "indented": "{{ ('a\n' * 9999) | indent(999999) }}",
    "replaced": "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
    "batched": "{{ [1] | batch(999999999, 0) | list }}",
    "sliced": "{{ [1] | slice(999999999) | list }}",
    "joined": "{{ range(99999) | join('x' * 99999) }}",
    "clock": "{{ strftime_now('%Y' * 9999999) }}",
    "clock with width": "{{ strftime_now('%999999999d') }}",
    "clock with a zero": "{{ strftime_now('%Y\\0%Y') }}",
    "recursive macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "recursive loop": "{% for a in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
    "attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch victim/made') }}",
    "include": "{% include '/etc/passwd' %}",
    "words hidden": "{% for m in messages %}{{ m['role'] }}{% endfor %}",
    "nothing": "",
    "a message again and again": "{% for a in range(99999) %}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    "{% endfor %}",
    "sorted": "{{ range(99999) | list | sort | sort | map('string') | list | join | wordcount }}",
    "deep": "{% if true %}" * 500 + "x" + "{% endif %}" * 500,
    "long": "{{ 'x' }}" * 200_000,
    "deep brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}
CHANGES = {
    "NaN": lambda flat: np.where(np.arange(flat.size) == 0, np.nan, flat),
    "all NaN": lambda flat: flat * np.nan,
    "infinite": lambda flat: np.where(np.arange(flat.size) % 7 == 0, np.inf, flat),
    "enormous": lambda flat: flat * 1e30,
    "large": lambda flat: flat * 1e4,
    "denormal": lambda flat: flat * 1e-40,
}


@dataclass
class Foreign:
    folder: Path
    model: Path

    def __post_init__(self):
        self.learned = Learned(self.folder / "plain", self.model, None)

    def drawn(self) -> Iterator[cases.Case]:
        """All of them."""
        for name in (*FILES, "adapters", "termux", "graphs"):
            for what in ("link to a file", "link to a folder", "link to nothing", "FIFO", "folder"):
                yield self._case("in the home", f"{name} is a {what}", partial(self._odd, name, what))
        yield self._case("somebody's folder", "with files of ours by name", self._somebodys)
        yield self._case("somebody's folder", "erased", self._erased_links)
        for path in PATHS:
            for state in ("promoted", "retired", "candidate", "rejected"):
                yield self._case("paths in the database", f"{path}, {state}", partial(self._row, path, state))
        for name in (*DEVICES, *ODD_NAMES, "FIFO", "folder"):
            yield self._case("key_file", repr(name[:40]), partial(self._key, name))
            yield self._case("model", repr(name[:40]), partial(self._as_model, name))
        for name, template in TEMPLATES.items():
            yield self._case("template", name, partial(self._template, template))
        for name, change in CHANGES.items():
            yield self._case("adapter", f"{name}, adopted", partial(self._adopted, change))
            yield self._case("adapter", f"{name}, in the home", partial(self._planted, change))

    def _case(self, kind: str, name: str, act: Callable[[Path], str | None]) -> cases.Case:
        def work() -> str | None:
            home = self.learned.copy("case")
            os.chdir(home.parent)
            before = outside(home)
            try:
                wrong = act(home)
            finally:
                changed = touched(before, home)
                os.chdir("/")
            return f"touched outside of the home: {', '.join(changed)}" if changed else wrong

        return cases.Case(kind, name, work)

    def _use(self, home: Path, model: Path | None = None, key=None) -> str | None:
        """Open, talk, roll back, learn and close; a refusal at one step is as good as a success."""
        refused = None
        with Runtime(home, model or self.model, SETTINGS, sequences=2, key=key) as runtime:
            for step in (
                lambda: runtime.chat("hello"),
                lambda: runtime.adapters.current() and runtime.rollback(),
                lambda: runtime.learn(should_stop=lambda: False),
                lambda: runtime.forget(1),
                lambda: runtime.change_settings({"daily_limit": 7}),
                lambda: runtime.chat("and now?"),
            ):
                try:
                    step()
                except IdleTuneError as error:
                    refused = error
        if refused:
            raise refused
        return None

    def _odd(self, name: str, what: str, home: Path) -> str | None:
        path, beside = home / name, home.parent
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if what == "FIFO":
            os.mkfifo(path)
        elif what == "folder":
            path.mkdir()
            (path / "mine.safetensors").write_text("not IdleTune's")
        else:
            path.symlink_to({"file": beside / "victim.txt", "folder": beside / VICTIM}.get(what.split()[-1], "nowhere"))
        try:
            return self._use(home)
        finally:
            if what == "folder" and name != "graphs" and not (path / "mine.safetensors").exists():
                raise AssertionError(f"somebody's file in {name} was removed")

    def _somebodys(self, home: Path) -> str | None:
        """A folder that the user names as a home, with a folder `adapters` of her own in it."""
        shutil.rmtree(home)
        (home / "adapters").mkdir(parents=True)
        for name in ("mine.safetensors", "adapter-mine.gguf", "notes.part"):
            (home / "adapters" / name).write_text("mine")
        try:
            return self._use(home)
        finally:
            left = {path.name for path in (home / "adapters").iterdir()}
            if missing := {"mine.safetensors", "adapter-mine.gguf", "notes.part"} - left:
                raise AssertionError(f"somebody's files were removed: {', '.join(sorted(missing))}")

    def _erased_links(self, home: Path) -> str | None:
        shutil.rmtree(home / "adapters")
        (home / "adapters").symlink_to(home.parent / VICTIM)
        (home / "training.npz").unlink(missing_ok=True)
        (home / "training.npz").symlink_to(home.parent / "victim.txt")
        erase(home)
        return None

    def _row(self, path: str, state: str, home: Path) -> str | None:
        path = path.format(beside=str(home.parent).lstrip("/"))
        with sqlite3.connect(home / "idletune.db") as db:
            if state == "promoted":
                db.execute("UPDATE adapters SET state = 'retired' WHERE state = 'promoted'")
            newest = "version = (SELECT max(version) FROM adapters)"
            db.execute(f"UPDATE adapters SET file = ?, state = ?, file_sha256 = '' WHERE {newest}", (path, state))
        db.close()
        return self._use(home)

    def _key(self, name: str, home: Path) -> str | None:
        place = self._made(home, name)
        refused = None
        for settings in (replace(SETTINGS, key_file=place), None):
            try:
                with Runtime(home, self.model, settings or SETTINGS, sequences=2) as runtime:
                    runtime.change_settings({"key_file": place})
            except IdleTuneError as error:
                refused = error
            else:
                return "was taken as a key file"
        raise refused

    def _as_model(self, name: str, home: Path) -> str | None:
        with Runtime(home, Path(self._made(home, name)), SETTINGS, sequences=2):
            return "was taken as a model"

    def _made(self, home: Path, name: str) -> str:
        """Made within the home, whose content is not compared."""
        place = home / "given"
        if name == "FIFO":
            os.mkfifo(place, 0o600)
        elif name == "folder":
            place.mkdir(mode=0o700)
        else:
            return name
        return str(place)

    def _template(self, template: str, home: Path) -> str | None:
        model = write_tiny_model(home / "odd.gguf", template=template)
        with Runtime(home / "inner", model, SETTINGS, sequences=2) as runtime:
            runtime.chat("hello")
        return None

    def _adopted(self, change, home: Path) -> str | None:
        given = write_adapter(home / "given.gguf", self.model, change)
        with Runtime(home, self.model, SETTINGS, sequences=2) as runtime:
            try:
                runtime.adopt(given)
            except IdleTuneError as error:
                return self._goes_on(runtime, error)
            return self._goes_on(runtime)

    def _goes_on(self, runtime: Runtime, refused: IdleTuneError | None = None) -> str | None:
        """Whatever became of the adapter, the user is answered."""
        try:
            runtime.chat("hello")
        except IdleTuneError as error:
            return f"chat does not go on: {error}"
        if refused:
            raise refused
        return None

    def _planted(self, change, home: Path) -> str | None:
        """As the promoted version's file, the record agreeing: it does not serve, and chat goes on."""
        path = sorted((home / "adapters").iterdir())[-1]
        given = write_adapter(home / "given.gguf", self.model, change)
        _put_adapter(home, path, given.read_bytes())
        with Runtime(home, self.model, SETTINGS, sequences=2) as runtime:
            return self._goes_on(runtime)


def attack(folder: Path, model: Path, seed: int, seconds: float, most: int) -> Found:
    """At most so many, evenly over all, as long as there is time."""
    found, clock = Found(), Clock(seconds)
    folder.mkdir()
    drawn = list(Foreign(folder, model).drawn())
    chosen = [drawn[i * len(drawn) // most] for i in range(most)] if most < len(drawn) else drawn
    random.Random(seed).shuffle(chosen)  # so that what fits into the time is spread evenly
    cases.run(chosen, SECONDS_A_CASE, clock, found)
    found.possible, found.seconds = len(drawn), clock.spent
    return found
