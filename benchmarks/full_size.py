"""Models of the sizes that phones ship, with random weights: each opens, is planned and takes training steps.

Run: python benchmarks/full_size.py [NAME ...]. The file of a model is written to a temporary folder, in Q4_0 blocks
(random_models.py). Time and memory are those of a process of its own that trains as it comes on a device with 4 GB of
free memory: the default adapter, int8 weights mapped from files, one packed sequence of 128 tokens. The first step goes
through the frozen layers as well. Memory is what is allocated at most, as the plan counts it: without the interpreter
and mapped files. On a machine that does other work, the processor's seconds say more than the clock's.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import RESULTS, AnonymousPeak, random_examples, status_mb, write_results
from random_models import MODELS, write_model
from scale.sides import our_layers

TOKENS, STEPS, FREE_MB = 128, 3, 4000
NAMES = [name for name in MODELS if name not in ("Qwen3 1.7B", "Llama 3.2 3B")]  # one of each kind of family


def measure(model: Path, threads: int) -> dict:
    """Seconds of a training step, and the memory that was allocated for it at most, as the plan counts it."""
    from idletune.training.activation_cache import ActivationCache
    from idletune.training.packing import pack

    before, start = status_mb("RssAnon"), time.perf_counter()
    layers, facts = our_layers(model, model.with_name("int8"), threads, FREE_MB)
    made_seconds = time.perf_counter() - start
    sets, gradient = random_examples([TOKENS], layers.shape.vocabulary), np.zeros(layers.lora.size, np.float32)
    cache = ActivationCache(layers, sets, TOKENS)
    seconds, cpu_seconds = [], []
    with AnonymousPeak() as anonymous:
        for _ in range(STEPS):
            start, cpu_start = time.perf_counter(), time.process_time()
            loss, count = layers.gradients(pack(sets, [cache.of(0)]), gradient, 1.0)
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
    assert math.isfinite(loss) and np.isfinite(gradient).all() and gradient.any()
    return {
        "file_mb": round(model.stat().st_size / 1e6),
        "planned_mb": facts["planned_mb"],
        "plan": facts["plan"],
        "int8_mb": round(facts["file_mb"]),
        "made_seconds": round(made_seconds, 1),
        "first_step_seconds": round(seconds[0], 2),
        "step_seconds": round(seconds[-1], 2),
        "step_cpu_seconds": round(cpu_seconds[-1], 2),
        "anonymous_mb": round(anonymous.peak_mb - before),
        "loss": round(loss / count, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(MODELS)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return print(json.dumps(measure(arguments.worker, arguments.threads)))
    kept = RESULTS / "full_size.json"  # those measured before stay, if only some are asked for
    results = json.loads(kept.read_text())["models"] if arguments.names and kept.is_file() else {}
    for name in arguments.names or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model.gguf"
            write_model(model, name)
            command = [sys.executable, __file__, "--worker", str(model), "--threads", str(arguments.threads)]
            done = subprocess.run(command, capture_output=True, text=True)
            results[name] = json.loads(done.stdout) if done.returncode == 0 else {"failed": done.stderr[-300:]}
            print(name, results[name], flush=True)
    facts = {"tokens": TOKENS, "threads": arguments.threads, "load": os.getloadavg()[1]}
    write_results("full_size", {**facts, "models": results})


if __name__ == "__main__":
    main()
