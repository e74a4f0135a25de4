"""Chat, embedding and a training step beside 0, 1 and 3 busy programs, as a share of the fair share of the processor.

Run: make bench-neighbours, on a quiet machine. "fixed" has a thread on each core whatever happens, "adaptive" is the
default (threads = 0). A fair share is what the system would give to so many equal threads: with t of our own and n
neighbours on c cores min(1, c / (t + n)) of the speed of the quiet machine. Each side is a process of its own, in turn.
"limit" is what one thread can reach of it: llama.cpp's threads wait for each other by spinning, so that beside programs
on all cores one thread gets more done than two, and its own share of the cores, c / (1 + n), is what there is.
--one-thread measures the speed of one thread, and adds the limit to what was measured before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from common import RESULTS, machine, make_layers, random_examples, write_results

BASE = Path(__file__).parents[1] / ".cache" / "models" / "smollm2-135m-instruct-q4_1.gguf"
NEIGHBOURS, WORKS, SIDES = (0, 1, 3), ("chat", "embedding", "training step"), ("fixed", "adaptive")
QUESTION, REPLY_TOKENS = "where did i put the keys", 32
BUSY = "import time\nend = time.monotonic() + {}\nwhile time.monotonic() < end: pass"
LONGEST = 120  # seconds a neighbour stays busy at most, should nobody stop it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one-thread", action="store_true", help="the limit alone, to the results that are there")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return print(json.dumps(seconds_of(*arguments.worker, arguments.repeats)))
    load = os.getloadavg()[0]
    if arguments.one_thread:
        kept = json.loads((RESULTS / "busy_neighbours.json").read_text())
        kept["limits"] = {"machine": machine(), "load": load, **limits(kept["works"], 3 * arguments.repeats)}
        (RESULTS / "busy_neighbours.json").write_text(json.dumps(kept, indent=1) + "\n")
        return print(json.dumps(kept["limits"], indent=1))
    found = {work: {str(n): beside(n, work, arguments.repeats) for n in NEIGHBOURS} for work in WORKS}
    rows = {work: with_shares(by_neighbours) for work, by_neighbours in found.items()}
    print(json.dumps(rows, indent=1))
    write_results("busy_neighbours", {"load": load, "repeats": arguments.repeats, "works": rows})


def limits(works: dict, repeats: int) -> dict[str, dict[str, float]]:
    """By work: the processor's seconds of one thread, which are its time on a quiet machine, those of a thread on each
    core from earlier results, and the share of the fair share that one can reach beside the most neighbours."""
    cores, n, found = os.cpu_count() or 1, max(NEIGHBOURS), {}
    for work in ("chat", "embedding"):
        one, on_all = min(beside_once(0, work, "one", repeats)), works[work]["0"]["fixed"]["seconds"]
        limit = on_all / one * min(1, cores / (1 + n)) / min(1, cores / (cores + n))
        found[work] = {"one": round(one, 3), "fixed": on_all, "limit": round(limit, 2)}
    return found


def beside(neighbours: int, work: str, repeats: int) -> dict[str, float]:
    """Median seconds of a piece of work on each side."""
    return {side: median(beside_once(neighbours, work, side, repeats)) for side in SIDES}


def beside_once(neighbours: int, work: str, side: str, repeats: int) -> list[float]:
    command = [sys.executable, __file__, "--repeats", str(repeats), "--worker", work, side]
    busy = [subprocess.Popen([sys.executable, "-c", BUSY.format(LONGEST)]) for _ in range(neighbours)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=True)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    return json.loads(done.stdout)


def with_shares(by_neighbours: dict[str, dict[str, float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds, and the share of the fair share; the quiet machine's "fixed" side is the measure of both."""
    cores, quiet = os.cpu_count() or 1, by_neighbours["0"]["fixed"]
    return {
        n: {
            side: {
                "seconds": round(seconds, 3),
                "of_fair_share": round(quiet / seconds / min(1, cores / (cores + int(n))), 2),
            }
            for side, seconds in sides.items()
        }
        for n, sides in by_neighbours.items()
    }


def seconds_of(work: str, side: str, repeats: int) -> list[float]:
    """Of each repeat, after one that is not counted: it loads what is needed."""
    threads = {"fixed": os.cpu_count() or 1, "one": 1, "adaptive": 0}[side]
    with tempfile.TemporaryDirectory() as folder:
        step = training_step(threads, Path(folder)) if work == "training step" else on_llama(work, threads)
        step()
        clock = time.process_time if side == "one" else time.perf_counter
        return [timed(step, clock) for _ in range(repeats)]


def timed(step: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    step()
    return clock() - start


def on_llama(work: str, threads: int) -> Callable[[], object]:
    from idletune.model.base_model import BaseModel

    model = BaseModel(BASE, sequences=1, threads=threads)
    if work == "embedding":
        return lambda: model.embed_exchange(QUESTION, "")
    prompt = model.encode_prompt([{"role": "user", "content": QUESTION}])
    return lambda: model.generate([prompt], max_tokens=REPLY_TOKENS, temperature=0.7, top_p=0.95, seeds=[1])


def training_step(threads: int, folder: Path) -> Callable[[], object]:
    import numpy as np
    from idletune.settings import Settings
    from idletune.training.activation_cache import ActivationCache
    from idletune.training.packing import pack

    layers, _ = make_layers(BASE, 256, 460, threads, Settings(), folder)
    sets = random_examples([256], layers.shape.vocabulary)
    cache, gradient = ActivationCache(layers, sets, 256), np.zeros(layers.lora.size, np.float32)
    return lambda: layers.gradients(pack(sets, [cache.of(0)]), gradient, 1.0)


if __name__ == "__main__":
    main()
