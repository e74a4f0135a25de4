"""Training killed with SIGKILL at random moments, then resumed: are the adapters the same, bit for bit?

Run: make bench-train, or python benchmarks/train_resume.py [--kills N]
Each round trains on the real model in a process of its own that checkpoints after every micro-step, kills
it at a random moment, lets a second process finish, and compares the parameters with an uninterrupted run's.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import make_layers, random_examples, write_results

LENGTHS = [30, 21, 44, 17, 38, 25, 29, 40]


def train(model: Path, checkpoint: Path) -> None:
    """One (rest of a) run; prints the adapter's hash when it has finished."""
    from idletune.settings import Settings
    from idletune.training.trainer import Trainer

    settings = Settings(
        epochs=2,
        min_steps=0,
        sequence_tokens=64,
        threads=1,
        dropout=0.1,
        gradient_accumulation_steps=2,
        rank=8,
        top_share=4 / 30,
    )
    layers, _ = make_layers(model, 64, 1500, 1, settings)
    trainer = Trainer(layers, random_examples(LENGTHS, layers.shape.vocabulary), settings, checkpoint)
    print("resumed" if trainer.resume() else "started", trainer.done, flush=True)
    trainer.run(checkpoint_seconds=0.0, progress=lambda done, note: print("step", done, flush=True))
    print(hashlib.sha256(trainer.lora.flat.tobytes()).hexdigest(), flush=True)


def start(arguments, checkpoint: Path) -> subprocess.Popen:
    command = [sys.executable, __file__, "--worker", str(checkpoint), "--model", str(arguments.model)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(arguments, checkpoint: Path) -> tuple[int, str]:
    """Where a run went on, and the hash it ended with."""
    output = start(arguments, checkpoint).communicate()[0].splitlines()
    return int(output[0].split()[1]), output[-1]


def killed_run(arguments, checkpoint: Path, seconds: float) -> int:
    """Kill a run `seconds` after its first step; returns the micro-steps it had reported."""
    process, steps = start(arguments, checkpoint), 0
    process.stdout.readline()
    deadline = time.monotonic() + seconds
    for line in process.stdout:
        steps += line.startswith("step")
        if time.monotonic() > deadline:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return train(arguments.model, arguments.worker)
    moments, same, lost = random.Random(arguments.seed), 0, []
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        _, wanted = finish(arguments, Path(folder) / "whole.npz")
        duration = time.monotonic() - began
        for number in range(arguments.kills):
            checkpoint = Path(folder) / f"{number}.npz"
            reported = killed_run(arguments, checkpoint, moments.uniform(0, duration / 2))
            resumed_at, found = finish(arguments, checkpoint)
            same += found == wanted
            lost.append(reported - resumed_at)
    print(f"{same} of {arguments.kills} resumed runs bit-identical; micro-steps lost: at most {max(lost)}")
    write_results("train_resume", {"kills": arguments.kills, "bit_identical": same, "most_steps_lost": max(lost)})
    sys.exit(same != arguments.kills)


if __name__ == "__main__":
    main()
