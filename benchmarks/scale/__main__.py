"""Phone-sized models: step time, memory, files and preparation, beside torch + PEFT; all sides take steps in turn.

Run: make bench-scale, or python benchmarks/scale [--model NAME]... [--rounds N] [--free-mb N] [--again]
A model that was measured at the present commit is skipped, so that a run that was stopped goes on with the next model.
Each side is a process of its own (sides.py). Weights are random where no real file is named: speed and
memory do not depend on their values. Ours trains as it comes, with the budget that is found for `free-mb` of free
memory; "ours_cold" reads the int8 weights from storage at each step. Medians of the rounds count, after one to warm.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import RESULTS, machine
from random_models import q4_k_m, write_model

REAL = {"Gemma 3 270M": "gemma-3-270m-q4_k_m.gguf", "SmolLM2 135M": "smollm2-135m-instruct-q4_1.gguf"}
MODELS = Path(__file__).parents[2] / ".cache" / "models"
OURS = ("ours", "ours_cold", "frozen_float32", "frozen_int8", "loss")
RANDOM = ("Llama 3.2 1B", "Qwen3 0.6B", "Qwen3 1.7B", "Llama 3.2 3B")
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
    path = MODELS / REAL[name] if name in REAL else write_model(folder / "model.gguf", name, q4_k_m)
    sides = {side: Side(side, path, folder / "files", arguments) for side in SIDES.get(name, OURS)}
    for _ in range(arguments.rounds + 1):
        for side in sides.values():
            side.step()
    results = {side: one.close() for side, one in sides.items()}
    return {"random_weights": name not in REAL, "gguf_mb": path.stat().st_size / 1e6, **results}


class Side:
    """A process and the steps it took; the first one warms and is not counted."""

    def __init__(self, side: str, model: Path, files: Path, arguments):
        command = [sys.executable, str(Path(__file__).parent / "sides.py"), side, str(model), str(files)]
        command += ["--threads", str(arguments.threads), "--free-mb", str(arguments.free_mb)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.facts, self.steps = self._read(), []

    def step(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.steps.append(self._read())

    def close(self) -> dict:
        self.process.stdin.close()
        self.process.wait()
        counted = self.steps[1:]
        peaks = {name: round(max(one[name] for one in counted)) for name in ("anonymous_mb", "peak_mb")}
        return {
            **self.facts,
            "seconds": median(one["seconds"] for one in counted),
            "cpu_seconds": median(one["cpu_seconds"] for one in counted),
            **peaks,
            "rounds": [one["seconds"] for one in counted],
        }

    def _read(self) -> dict:
        line = self.process.stdout.readline()
        assert line, "the side ended early; its error stands above"
        return json.loads(line)


if __name__ == "__main__":
    main()
