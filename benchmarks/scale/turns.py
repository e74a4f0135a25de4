"""Sides of a comparison in processes of their own, which take steps in turn; and the models they are taken of."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from random_models import q4_k_m, write_model

REAL = {"Gemma 3 270M": "gemma-3-270m-q4_k_m.gguf", "SmolLM2 135M": "smollm2-135m-instruct-q4_1.gguf"}
RANDOM = ("Llama 3.2 1B", "Qwen3 0.6B", "Qwen3 1.7B", "Llama 3.2 3B")
MODELS = Path(__file__).parents[2] / ".cache" / "models"


def model_file(name: str, folder: Path) -> Path:
    """The real file of a model, or one of its shape with random weights, made in `folder`."""
    return MODELS / REAL[name] if name in REAL else write_model(folder / "model.gguf", name, q4_k_m)


def in_turns(names: Iterable[str], model: Path, files: Path, arguments: Namespace) -> dict[str, dict]:
    """A step of each side in each of `rounds` rounds, after one that warms. `files`: folder of the int8 weights."""
    sides = {name: Side(name, model, files, arguments) for name in names}
    for _ in range(arguments.rounds + 1):
        for side in sides.values():
            side.step()
    return {name: side.close() for name, side in sides.items()}


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
