"""A training step on onnxruntime's Python package beside the same step on its C library.

Run: make bench-bridge, or python benchmarks/binding_cost.py [--steps N]. Two processes, a step each in turn.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from common import make_layers, random_examples, write_results

BINDINGS = ("package", "library")
TOKENS, BUDGET_MB = 256, 2000


def library() -> str:
    (path,) = Path(find_spec("onnxruntime").origin).parent.glob("capi/libonnxruntime.so.*")
    return str(path)


def side(model: Path, threads: int) -> None:
    """Step at each line of the standard input; prints its seconds and loss."""
    import numpy as np
    from idletune.training.packing import pack

    layers, _ = make_layers(model, TOKENS, BUDGET_MB, threads)
    row = pack(random_examples([TOKENS], layers.shape.vocabulary))
    gradient = np.zeros(layers.lora.size, np.float32)
    for _ in sys.stdin:
        gradient[:] = 0
        start = time.perf_counter()
        loss, _ = layers.gradients(row, gradient, 1.0)
        found = {"seconds": time.perf_counter() - start, "loss": loss, "gradient": hashlib.sha256(gradient).hexdigest()}
        print(json.dumps(found), flush=True)


def measure(model: Path, steps: int, threads: int) -> dict:
    processes = {}
    for name in BINDINGS:
        given = {"IDLETUNE_ONNXRUNTIME": library()} if name == "library" else {}
        processes[name] = subprocess.Popen(
            [sys.executable, __file__, "--side", "--model", str(model), "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **given},
        )
    times = {name: [] for name in BINDINGS}
    for number in range(steps + 2):  # the first two warm up
        found = {}
        for name in BINDINGS if number % 2 else BINDINGS[::-1]:
            processes[name].stdin.write("\n")
            processes[name].stdin.flush()
            found[name] = json.loads(processes[name].stdout.readline())
            times[name].append(found[name].pop("seconds"))
        if threads == 1 and found["package"] != found["library"]:
            raise SystemExit("the two bindings differ")
    for process in processes.values():
        process.stdin.close()
        process.wait()
    ratio = median(b / a for a, b in zip(times["package"][2:], times["library"][2:]))
    return {
        "tokens": TOKENS,
        "threads": threads,
        "steps": steps,
        "library_by_package": round(ratio, 4),
        "step_s": {name: round(median(found[2:]), 4) for name, found in times.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    if arguments.side:
        side(arguments.model, arguments.threads)
        return
    found = measure(arguments.model, arguments.steps, arguments.threads)
    write_results("binding_cost", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
