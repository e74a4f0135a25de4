"""Trains and measures jobs one after the other with the product's own trainer: what a CPU is for."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from common import make_layers
from idletune.training.trainer import Trainer, evaluate

from .experiments import LONGEST, Job
from .lines import Lines

MEMORY_MB = 2500


class ProductRunner:
    """As running.Runner, an adapter at a time."""

    def __init__(self, model: Path, lines: Lines, seconds: float, threads: int):
        self.model, self.lines, self.threads = model, lines, threads
        self._end = time.monotonic() + seconds

    def run(self, jobs: Iterable[Job]) -> None:
        """In this order, as far as the time reaches."""
        last = 0.0
        for job in jobs:
            if job.key in self.lines:
                continue
            start = time.monotonic()
            if start + last > self._end:
                print(f"stopped before {job.key}", flush=True)
                return
            self._run(job)
            last = time.monotonic() - start
            print(f"{', '.join(map(str, job.key))}: {last:.1f} s", flush=True)

    def _run(self, job: Job) -> None:
        layers, _ = make_layers(self.model, LONGEST, MEMORY_MB, self.threads, job.settings)
        if (job.experiment, job.stream, "base", 0) not in self.lines:  # as training begins, an adapter changes nothing
            self.lines.write((job.experiment, job.stream, "base", 0), _judged(layers, job))
        trainer = Trainer(layers, job.examples, job.settings, objective=job.objective)
        trainer.run()
        further = {"rows": len(trainer.sequences), "parameters": layers.lora.size}
        self.lines.write(job.key, _judged(layers, job), **further)


def beside(jobs: Iterable[Job]) -> Iterable[Job]:
    """Jobs under the experiment "product": as the settings say (int8 where the processor has it) and, named so, with
    float32 products."""
    for job in jobs:
        yield replace(job, experiment="product")
        settings = replace(job.settings, matmul_dtype="float32")
        yield replace(job, experiment="product", arm=f"{job.arm}, float32", settings=settings)


def _judged(layers, job: Job) -> dict[str, list[float]]:
    """Nats per token of each example, by the names of what is judged."""
    found = {}
    for name, examples in job.judged.items():
        totals = [evaluate(layers, [example], LONGEST) for example in examples]
        found[name] = [total / count for total, count in totals]
    return found
