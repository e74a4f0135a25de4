"""What a part of the attack did and found, and the time it may take."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from faulty_life import Child

WORKERS = 2
PATIENCE = 180.0  # seconds beyond its time in which a worker must have finished its last case
EXAMPLES = 40  # problems that are told in full


@dataclass
class Found:
    """Cases by kind, outcomes by name, and the problems: each a broken promise, with what broke it."""

    cases: Counter = field(default_factory=Counter)
    outcomes: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    possible: int = 0  # cases there would be, had the time sufficed
    seconds: float = 0.0

    def problem(self, what: str) -> None:
        self.problems.append(" ".join(what.split())[:600])

    def add(self, other: "Found") -> None:
        self.cases.update(other.cases)
        self.outcomes.update(other.outcomes)
        self.problems += other.problems

    def to_dict(self) -> dict:
        return {
            "cases": sum(self.cases.values()),
            "of": max(self.possible, sum(self.cases.values())),
            "by_kind": dict(sorted(self.cases.items())),
            "outcomes": dict(sorted(self.outcomes.items())),
            "problems": len(self.problems),
            "seconds": round(self.seconds, 1),
            "examples": self.examples(),
        }

    def examples(self) -> list[str]:
        """One problem of each sort, with how many there are: those of a kind that end in the same words."""
        sorts: dict[tuple, list[str]] = {}
        for problem in self.problems:
            kind, what = problem.split(",")[0], problem.rsplit(" | ", 1)[-1]
            sorts.setdefault((kind, re.sub(r"[\d'\"].*", "", what)), []).append(problem)
        return [f"{len(same)} times: {same[0]}" for same in sorts.values()][:EXAMPLES]


def shared(items: list, work: Callable[[list, Found], None], seconds: float) -> Found:
    """What `work` finds on the items, halved between two processes; for as long as its own clock lets it."""

    def half(items: list, say) -> None:
        found = Found()
        work(items, found)
        say(json.dumps(vars(found)))

    children = [Child(partial(half, items[n::WORKERS])) for n in range(WORKERS)]
    found = Found()
    for child in children:
        lines = [*child.hear(longest=seconds + PATIENCE), *child.end()]
        if not lines or not lines[-1].startswith("{"):
            found.problem(f"the attack itself, ended: {lines[-1:]}")
            continue
        told = json.loads(lines[-1])
        found.add(Found(Counter(told["cases"]), Counter(told["outcomes"]), told["problems"]))
    return found


LEAST = 5  # cases of a part that come in any case


class Clock:
    """How long a part has run, and whether it may go on."""

    def __init__(self, seconds: float):
        self.began, self.seconds = time.monotonic(), seconds

    @property
    def spent(self) -> float:
        return time.monotonic() - self.began

    def within(self, items: Iterable) -> Iterator:
        """The items, as long as there is time; the first of them in any case, since who tries none finds none."""
        for number, item in enumerate(items):
            if number >= LEAST and self.spent > self.seconds:
                return
            yield item
