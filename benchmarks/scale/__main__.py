"""Phone-sized models: step time, memory, files and preparation, beside torch + PEFT; all sides take steps in turn.

Run: make bench-scale, or python benchmarks/scale [--model NAME]... [--rounds N] [--free-mb N] [--again]
A model that was measured at the present commit is skipped, so that a run that was stopped goes on with the next model.
Each side is a process of its own (turns.py, sides.py). Weights are random where no real file is named: speed and
memory do not depend on their values. Ours trains as it comes, with the budget that is found for `free-mb` of free
memory; "ours_cold" reads the int8 weights from storage at each step. Medians of the rounds count, after one to warm.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import RESULTS, machine
from turns import RANDOM, REAL, in_turns, model_file

OURS = ("ours", "ours_cold", "frozen_float32", "frozen_int8", "loss")
SIDES = {"Llama 3.2 1B": (*OURS, "torch"), "Qwen3 0.6B": (*OURS, "ours_smallest", "torch")}
RESULT = RESULTS / "scale.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=[*RANDOM, *REAL], help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--free-mb", type=float, default=4000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    arguments = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.is_file() else {"models": {}}
    found |= {"machine": machine(), "free_mb": arguments.free_mb}
    commit, load = found["machine"]["commit"], os.getloadavg()[0]  # later on it counts the models before
    for name in arguments.model or [*RANDOM, *REAL]:
        if found["models"].get(name, {}).get("commit") == commit and not arguments.again:
            print(name, "was measured at", commit, flush=True)
            continue
        with tempfile.TemporaryDirectory(dir=os.environ.get("IDLETUNE_SCRATCH")) as folder:
            found["models"][name] = {"commit": commit, "load": load, **measure(name, Path(folder), arguments)}
        print(name, json.dumps(found["models"][name], indent=1), flush=True)
        RESULT.write_text(json.dumps(found, indent=1) + "\n")


def measure(name: str, folder: Path, arguments) -> dict:
    """All sides of one model, a step each in turn."""
    path = model_file(name, folder)
    results = in_turns(SIDES.get(name, OURS), path, folder / "files", arguments)
    return {"random_weights": name not in REAL, "gguf_mb": path.stat().st_size / 1e6, **results}


if __name__ == "__main__":
    main()
