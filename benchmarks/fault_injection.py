"""Kills, full disks and torn writes in the whole loop: what is lost, and what is half done afterwards.

Run: make bench-faults, or python benchmarks/fault_injection.py [--kills N] [--disk N] [--seed S]
The loop is the real one on a tiny random model, in homes without and with a key, in turns. Each life is ended
in a stage drawn at random, some time after that stage began. Then the home is opened and compared with what
had been acknowledged; an interrupted training goes on and must give the very adapter an uninterrupted one gives.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from common import machine  # noqa: E402
from faulty_life import KEY, Child, check, live, stage_of  # noqa: E402
from torn_writes import TEARS  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "faults.json"
# Each stage, and the seconds within which a life ends after the stage has begun: about what it takes.
STAGES = {
    "opening": 0.1,
    "selection": 0.02,
    "answer": 0.02,
    "paraphrasing": 0.2,
    "measuring": 0.1,
    "training": 0.5,
    "judging": 0.1,
    "adapter file": 0.02,
    "promotion": 0.02,
    "embedding": 0.2,
    "forgetting": 0.03,
    "rotation": 0.03,
}
ROOM = (0, 4096, 16_384, 65_536, 200_000)  # bytes left on a full disk
SHOTS_A_HOME = 8  # then a new home, lest learning get long
KEYS = (None, KEY)
DISK_MB = 24


@dataclass
class Home:
    """A home and what its lives were told is safe."""

    path: Path
    key: bytes | None
    answered: dict[int, str] = field(default_factory=dict)
    forgotten: set[int] = field(default_factory=set)  # or may be
    safe: str = "00 0"

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "answered":
                id, _, text = rest.partition(" ")
                self.answered[int(id)] = text
            elif word in ("forgetting", "forgotten"):
                self.forgotten.add(int(rest))
            elif word == "safe":
                self.safe = rest


@dataclass
class Tally:
    """What a kind of fault did."""

    faults: int = 0
    kinds: Counter = field(default_factory=Counter)
    answers: int = 0
    refused: int = 0
    interrupted: int = 0
    resumed: int = 0
    startup_ms: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict:
        lost = [p for p in self.problems if "lost" in p]
        half = [p for p in self.problems if "adapter" in p and p not in lost]
        return {
            "faults": self.faults,
            "by_kind": dict(self.kinds),
            "answers_acknowledged": self.answers,
            "answers_lost": len(lost),
            "half_adapters": len(half),
            "other_problems": len(self.problems) - len(lost) - len(half),
            "trainings_interrupted": self.interrupted,
            "resumed_bit_for_bit": self.resumed,
            "clear_refusals": self.refused,
            "startup_ms_median": round(median(self.startup_ms), 1),
            "startup_ms_longest": round(max(self.startup_ms), 1),
            "problems": self.problems,
        }


class Faults:
    """The homes, one fault after the other."""

    def __init__(self, folder: Path, model: Path, seed: int):
        self.folder, self.model, self.chance = folder, model, random.Random(seed)
        self.homes: dict = {}

    def home(self, number: int, parent: Path) -> Home:
        """In turns one without and one with a key; each serves for a number of faults."""
        key = KEYS[number % 2]
        name = f"home-{number % 2}-{number // (2 * SHOTS_A_HOME)}"
        if name not in self.homes:
            for path in parent.glob(f"home-{number % 2}-*"):
                shutil.rmtree(path)
            (parent / name).mkdir()
            self.homes[name] = Home(parent / name, key)
        return self.homes[name]

    def stage(self, home: Home) -> str:
        """One of the stages; training, the longest and with the most to resume, as often as four others."""
        return self.chance.choice([*(s for s in STAGES if home.key or s != "rotation"), *["training"] * 3])

    def kill(self, number: int, tally: Tally) -> Home:
        """A life, ended in a stage drawn at random."""
        home = self.home(number, self.folder)
        wanted = self.stage(home)
        seed = self.chance.randrange(2**32)
        child = Child(lambda say: live(home.path, self.model, home.key, seed, say))
        lines = child.hear(until=wanted)
        time.sleep(self.chance.uniform(0, STAGES[wanted]))
        child.kill()
        lines += child.end()
        before = len(home.answered)
        home.hear(lines)
        tally.answers += len(home.answered) - before
        tally.problems += [line for line in lines if line.startswith(("died", "refused"))]
        tally.kinds[last_stage(lines)] += 1
        return home

    def tear(self, number: int, tally: Tally) -> None:
        """A kill, and then the tear: drawn until one finds something to damage."""
        kinds = list(TEARS)
        while True:
            home = self.kill(number, Tally())
            kind = kinds[number % len(kinds)]
            torn = TEARS[kind](home.path, home.safe, self.chance)
            self.verify(home, tally)
            if torn:
                tally.kinds[kind] += 1
                tally.answers = sum(len(h.answered) for h in self.homes.values())
                return

    def fill_disk(self, number: int, tally: Tally, disk: Path) -> None:
        """The disk fills in a stage drawn at random, up to a little room; then room again."""
        home, filler, seed = self.home(number, disk), disk / "filler", self.chance.randrange(2**32)
        wanted = self.stage(home)
        child = Child(lambda say: live(home.path, self.model, home.key, seed, say))
        lines = child.hear(until=wanted)
        fill(filler, self.chance.choice(ROOM))
        lines += child.end()
        filler.unlink()
        before = len(home.answered)
        home.hear(lines)
        tally.answers += len(home.answered) - before
        tally.kinds[last_stage(lines)] += 1
        refused = bool(lines) and lines[-1].startswith("refused") and "storage" in lines[-1]
        tally.refused += refused
        tally.problems += [] if refused else [f"no clear refusal: {lines[-1:]}"]
        self.verify(home, tally)

    def verify(self, home: Home, tally: Tally) -> None:
        scratch = Path(tempfile.mkdtemp(dir=self.folder))
        lines = Child(
            lambda say: check(home.path, self.model, home.key, home.answered, home.forgotten, scratch, say)
        ).end()
        shutil.rmtree(scratch)
        try:
            found = json.loads(lines[-1])
        except (IndexError, ValueError):
            tally.problems.append(f"the home does not open: {lines[-1] if lines else 'no word'}")
            del self.homes[home.path.name]
            return
        tally.problems += found["problems"]
        tally.startup_ms.append(found["startup_ms"])
        tally.interrupted += found["interrupted"]
        tally.resumed += found["resumed"]


def fill(filler: Path, room: int) -> None:
    """Take all of a disk but `room` bytes, while somebody else writes to it too."""
    with open(filler, "wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)) == 1 << 20:
                pass
        except OSError:
            pass
        file.truncate(max(0, file.tell() - room))


def last_stage(lines: list[str]) -> str:
    stages = map(stage_of, reversed(lines))
    return next((stage for stage in stages if stage in STAGES), "opening")


def prepare(folder: Path) -> Path:
    """The tiny model, in a process of its own: the one that forks stays small."""
    code = (
        "import sys; from pathlib import Path; from tiny_model import write_tiny_model\n"
        "write_tiny_model(Path(sys.argv[1]) / 'tiny.gguf')\n"
    )
    environment = {**os.environ, "PYTHONPATH": sys.path[0]}
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment, capture_output=True)
    return folder / "tiny.gguf"


def small_disk(folder: Path) -> Path | None:
    """A tmpfs of DISK_MB; None where we may not mount one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=700", "idletune", str(folder)], capture_output=True
    )
    return folder if done.returncode == 0 else None


def table(results: dict) -> str:
    kinds = [kind for kind in ("kills", "disk_full", "torn_writes") if kind in results]
    rows = [name for name in results["kills"] if name not in ("by_kind", "problems")]
    lines = [f"{'':24}" + "".join(f"{kind:>14}" for kind in kinds)]
    lines += [f"{row:24}" + "".join(f"{results[kind][row]:>14}" for kind in kinds) for row in rows]
    for kind in kinds:
        ends = ", ".join(f"{count} {name}" for name, count in sorted(results[kind]["by_kind"].items()))
        lines.append(f"{kind}: {ends}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--disk", type=int, default=100, help="disk-full and torn-write faults, half each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="a tiny model, with its graphs in `training` beside it")
    arguments = parser.parse_args()
    results = {"machine": machine(), "seed": arguments.seed}
    with tempfile.TemporaryDirectory(prefix="idletune-faults-") as scratch:
        folder = Path(scratch)
        model = arguments.model or prepare(folder)
        half, seed = arguments.disk // 2, arguments.seed
        results["kills"] = run(arguments.kills, folder / "kills", model, seed, "kill")
        if arguments.disk:
            results["torn_writes"] = run(arguments.disk - half, folder / "torn", model, seed, "tear")
        if half and (disk := small_disk(folder / "disk")):
            try:
                results["disk_full"] = run(half, folder / "full", model, seed, "fill_disk", disk)
            finally:
                subprocess.run(["umount", "--lazy", str(disk)], check=True)
    print(table(results))
    if half and "disk_full" not in results:
        print("disk_full: not run, mounting a small disk takes root")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    problems = [p for kind in ("kills", "torn_writes", "disk_full") for p in results.get(kind, {}).get("problems", [])]
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


def run(count: int, folder: Path, model: Path, seed: int, kind: str, *rest) -> dict:
    folder.mkdir()
    faults, tally = Faults(folder, model, seed), Tally()
    for number in range(count):
        found = getattr(faults, kind)(number, tally, *rest)
        if kind == "kill":
            faults.verify(found, tally)
        tally.faults += 1
        if sys.stderr.isatty():
            print(f"\r{kind} {number + 1}/{count}, {len(tally.problems)} problems ", end="", file=sys.stderr)
    return tally.to_dict()


if __name__ == "__main__":
    sys.exit(main())
