"""The same adapters by the product's own trainer, some of them: how far the two are apart."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common import make_layers
from idletune.training.trainer import Trainer, evaluate

from .experiments import LONGEST, Job

MEMORY_MB = 2500


def measure(jobs: Sequence[Job], model: Path, name: str, out: Path, threads: int) -> None:
    """A line for each job, experiment "product": losses of what is held out, alone, as the settings say (int8 where the
    processor has it) and, named so, with float32 products."""
    for job in jobs:
        for dtype in ("auto", "float32"):
            losses = [round(loss, 4) for loss in _losses(job, model, threads, dtype)]
            line = {"model": name, "device": "CPU", "experiment": "product", "stream": job.stream, "seed": job.seed}
            line |= {"arm": job.arm + (", float32" if dtype == "float32" else ""), "losses": {"alone": losses}}
            with open(out, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _losses(job: Job, model: Path, threads: int, dtype: str) -> list[float]:
    layers, _ = make_layers(model, LONGEST, MEMORY_MB, threads, replace(job.settings, matmul_dtype=dtype))
    Trainer(layers, job.examples, job.settings, objective=job.objective).run()
    totals = [evaluate(layers, [example], LONGEST) for example in job.judged["alone"]]
    return [total / count for total, count in totals]
