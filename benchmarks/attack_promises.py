"""The promises of SECURITY.md under attack: kills, damaged files, hostile clients, marker words, foreign things.

Run: make attack (QUICK=1: under two minutes), or python benchmarks/attack_promises.py [--quick] [--part NAME]
Everything runs on the tiny random model in temporary folders. Each part has a share of the time and says how many of
how many cases fitted into it. The exit code is 1 when a promise was broken; what broke it is told.
"""

import argparse
import ctypes
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parent)]

from attack import clients, foreign, kills, mutations, words  # noqa: E402
from attack.found import Found  # noqa: E402
from common import RESULTS, write_results  # noqa: E402
from fault_injection import prepare  # noqa: E402

# Each part, with the seconds it may take in full and quickly, and its cases.
PARTS = {
    "kills": (kills.attack, (520, 30), (100_000, 40)),
    "mutated_files": (mutations.attack, (150, 20), (6000, 150)),
    "hostile_clients": (clients.attack, (80, 15), (50, 1)),
    "marker_words": (words.attack, (60, 10), (20, 1)),
    "foreign_things": (foreign.attack, (60, 15), (1000, 30)),
}


def run(name: str, folder: Path, model: Path, seed: int, quick: bool) -> Found:
    attack, seconds, counts = PARTS[name]
    found = attack(folder / name, model, seed, seconds[quick], counts[quick])
    said = found.to_dict()
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in said["outcomes"].items())
    print(f"{name}: {said['cases']} of {said['of']} cases in {said['seconds']} s; {outcomes}", flush=True)
    for example in found.examples():
        print(f"  BROKEN {example}", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small share of each part; writes no result")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; writes no result")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="a tiny model, with its graphs in `training` beside it; made if new")
    arguments = parser.parse_args()
    if not hasattr(ctypes.CDLL(None), "kill_shim_arm"):
        parser.error("start it with LD_PRELOAD=build/kill_shim.so, as make attack does")
    with tempfile.TemporaryDirectory(prefix="idletune-attack-") as scratch:
        model = (arguments.model or Path(scratch) / "tiny.gguf").resolve()
        if not model.exists():
            model.parent.mkdir(parents=True, exist_ok=True)
            prepare(model.parent)
        names = arguments.part or list(PARTS)
        found = {name: run(name, Path(scratch), model, arguments.seed, arguments.quick) for name in names}
    if not (arguments.quick or arguments.part):
        write_results("attack", {"seed": arguments.seed, **{name: part.to_dict() for name, part in found.items()}})
        print(f"written to {RESULTS / 'attack.json'}")
    return 1 if any(part.problems for part in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
