"""Many cases, several to a process: what each ended with, crashes and hangs included.

A case is a function that is run in a forked child. It may return, or raise one of the errors that a user can meet;
another exception, a signal and a case without an end are problems.
"""

import os
import resource
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from idletune.errors import DamagedDataError, IdleTuneError, StorageError, UsageError

from .found import Clock, Found

MEMORY_BYTES = 6 << 30  # address space of a child: a file that asks for more is a MemoryError, not the machine's end
USER_ERRORS = (StorageError, UsageError, DamagedDataError)  # a class after its subclass


@dataclass(frozen=True)
class Case:
    """`work` may return what it found wrong as a string."""

    kind: str
    name: str
    work: Callable[[], str | None]


def run(cases: list[Case], seconds_each: float, clock: Clock, found: Found, batch: int = 50) -> None:
    """Run the cases one after the other, as long as there is time; a child's crash costs its case alone."""
    found.possible += len(cases)
    waiting = list(cases)
    while waiting and clock.spent < clock.seconds:
        done = _Batch(waiting[:batch], seconds_each, clock).run(found)
        waiting = waiting[done:]


class _Batch:
    """A child that goes through the cases and tells each outcome."""

    def __init__(self, cases: list[Case], seconds_each: float, clock: Clock):
        self.cases, self.seconds_each, self.clock = cases, seconds_each, clock
        self.errors = tempfile.TemporaryFile()
        self.told, writing = os.pipe()
        self.id = os.fork()
        if self.id == 0:
            os.close(self.told)
            self._child(writing)
        os.close(writing)

    def run(self, found: Found) -> int:
        """How many cases are done; the rest is for another child."""
        number, rest, began = 0, b"", time.monotonic()
        while number < len(self.cases):
            if not select.select([self.told], [], [], 0.2)[0]:
                if time.monotonic() - began > self.seconds_each:
                    self._note(found, self.cases[number], "hang", f"no end within {self.seconds_each:.0f} s")
                    number += 1
                    break
                continue
            data = os.read(self.told, 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                outcome, _, text = line.decode(errors="replace").partition(" ")
                self._note(found, self.cases[number], outcome, text)
                number, began = number + 1, time.monotonic()
            if self.clock.spent > self.clock.seconds:
                break
        ended = self._end()
        if number < len(self.cases) and ended not in (0, -signal.SIGKILL):
            self._note(found, self.cases[number], "crash", f"ended with {ended}: {self._last_words()}")
            number += 1
        return number

    def _end(self) -> int:
        """The child's own end, if it comes by itself at once; else ours for it."""
        for _ in range(20):
            id, status = os.waitpid(self.id, os.WNOHANG)
            if id:
                break
            time.sleep(0.01)
        else:
            os.kill(self.id, signal.SIGKILL)
            status = os.waitpid(self.id, 0)[1]
        os.close(self.told)
        return os.waitstatus_to_exitcode(status)

    def _note(self, found: Found, case: Case, outcome: str, text: str) -> None:
        found.cases[case.kind] += 1
        found.outcomes[outcome] += 1
        if outcome not in ("fine", *(kind.__name__ for kind in USER_ERRORS)):
            found.problem(f"{case.kind}, {case.name}: {outcome} {text}")

    def _last_words(self) -> str:
        """What an assertion said, else the end of what was said."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").splitlines()
        return next((line for line in lines if "ASSERT" in line), " ".join(lines[-3:])[-300:])

    def _child(self, writing: int) -> None:
        silence = os.open(os.devnull, os.O_RDWR)
        os.dup2(silence, 0), os.dup2(silence, 1), os.dup2(self.errors.fileno(), 2)
        os.environ["GGML_NO_BACKTRACE"] = "1"  # else llama.cpp asks gdb for it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        try:
            for case in self.cases:
                os.write(writing, f"{outcome_of(case)}\n".encode("utf-8", "replace"))
        finally:
            os._exit(0)


def outcome_of(case: Case) -> str:
    """One line: fine, the user's error, or what is wrong."""
    try:
        wrong = case.work()
    except IdleTuneError as error:
        return next((kind.__name__ for kind in USER_ERRORS if isinstance(error, kind)), f"uncaught {error!r}")
    except BaseException:
        return "uncaught " + " | ".join(line.strip() for line in traceback.format_exc().splitlines()[-5:])
    return f"wrong {wrong}".replace("\n", " ") if wrong else "fine"


def scratch(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    return place
