"""Runs jobs, many adapters at once, and writes a line for each as soon as it is measured."""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from idletune.settings import Settings
from idletune.training.lora import Lora
from many_adapters.batches import States
from many_adapters.model import FrozenModel
from many_adapters.training import Run, fresh, losses, states_of, train

from .examples_file import ExamplesFile
from .experiments import Job
from .streams import TAPS

TOGETHER = 256  # jobs between two looks at the clock
FORM = ("rank", "alpha", "targets", "top_share")


class Runner:
    """Measures jobs with one model until the time is up; what `done` holds is passed by.

    `write` gets a line for each adapter, and one for the base on each list of examples that adapters are judged by.
    """

    def __init__(self, model: FrozenModel, name: str, out: Path, seconds: float, done: set[tuple] = frozenset()):
        self.model, self.name, self.out, self.done = model, name, out, set(done)
        self._end = time.monotonic() + seconds
        self._device = torch.cuda.get_device_name() if model.device.type == "cuda" else "CPU"
        self._forms: dict[tuple, tuple[Lora, States]] = {}

    def run(self, jobs: Iterable[Job]) -> None:
        """In this order, as far as the time reaches."""
        left, last = [job for job in jobs if self._key(job) not in self.done], 0.0
        for chunk in _chunks(left):
            start = time.monotonic()
            if start + last > self._end:
                print(f"stopped before {self._key(chunk[0])}", flush=True)
                return
            steps = self._run(chunk)
            self._synchronize()
            last = time.monotonic() - start
            told = f"{chunk[0].experiment}, {chunk[0].arm} .. {chunk[-1].arm}: {len(chunk)} adapters, {steps} rows"
            print(f"{told}, {last:.1f} s", flush=True)

    def likelihood_picks(self, file: ExamplesFile) -> dict[str, np.ndarray]:
        """By stream, bool (n,): where an adapter trained on all answers that the user gave before the held-out ones
        finds the reply likelier that is farther by ROUGE-L."""
        lora, states = self._form(Settings())
        trained = train(states, lora, fresh(lora, [0] * len(TAPS)), [Run(file[f"{s}|seen"], Settings()) for s in TAPS])
        first, second = (
            losses(states, lora, trained, [file[f"{s}|{n} rejected"] for s in TAPS]) for n in ("first", "second")
        )
        found = {stream: better > worse for stream, better, worse in zip(TAPS, first, second)}
        print(
            f"by likelihood another one of {np.concatenate(list(found.values())).mean():.0%} of the pairs", flush=True
        )
        return found

    def _run(self, jobs: list[Job]) -> int:
        lora, states = self._form(jobs[0].settings)
        runs = [Run(job.examples, job.settings, job.objective) for job in jobs]
        trainable = only_b(lora) if _freezes_a(jobs[0]) else None
        trained = train(states, lora, fresh(lora, [job.settings.seed for job in jobs]), runs, trainable)
        found: list[dict] = [{} for _ in jobs]
        for name in sorted({name for job in jobs for name in job.judged}):
            numbers = [i for i, job in enumerate(jobs) if name in job.judged]
            each = losses(states, lora, trained[numbers], [jobs[i].judged[name] for i in numbers])
            for i, some in zip(numbers, each):
                found[i][name] = some
        self._base(jobs, lora, states)
        changed = int(trainable.sum()) if trainable is not None else lora.size
        for job, run, each in zip(jobs, runs, found):
            self._write(
                job.experiment, job.stream, job.arm, job.seed, each, rows=len(run.sequences), parameters=changed
            )
        return sum(len(run.sequences) for run in runs)

    def _base(self, jobs: list[Job], lora: Lora, states: States) -> None:
        """The base's losses by what the jobs are judged by, once for each stream."""
        new = {job.stream: job for job in jobs if (self.name, job.experiment, job.stream, "base", 0) not in self.done}
        wanted = [(stream, name) for stream, job in new.items() for name in job.judged]
        found = losses(states, lora, None, [new[stream].judged[name] for stream, name in wanted]) if wanted else []
        for stream, job in new.items():
            each = {name: some for (other, name), some in zip(wanted, found) if other == stream}
            self._write(job.experiment, stream, "base", 0, each)

    def _write(self, experiment: str, stream: str, arm: str, seed: int, each: dict, **further) -> None:
        rounded = {name: [round(float(loss), 4) for loss in some] for name, some in each.items()}
        line = {
            "model": self.name,
            "device": self._device,
            "experiment": experiment,
            "stream": stream,
            "arm": arm,
            "seed": seed,
        }
        with open(self.out, "a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **further, "losses": rounded}) + "\n")
        self.done.add((self.name, experiment, stream, arm, seed))

    def _key(self, job: Job) -> tuple:
        return self.name, *job.key

    def _form(self, settings: Settings) -> tuple[Lora, States]:
        """Of one form at a time: the frozen layers' states take gigabytes."""
        form = tuple(getattr(settings, name) for name in FORM)
        if form not in self._forms:
            lora = Lora.from_settings(self.model.shape, settings)
            states = states_of(self.model, lora)
            shared = [kept for _, kept in self._forms.values() if kept.first == states.first]
            self._forms = {form: (lora, shared[0] if shared else states)}
        return self._forms[form]

    def _synchronize(self) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()


def only_b(lora: Lora) -> torch.Tensor:
    """Which parameters are B's: A stays as it began (LoRA-FA, Zhang et al. 2023, arXiv 2308.03303)."""
    found = np.zeros(lora.size, bool)
    for views in lora.views(found):
        for name, view in views.items():
            view[...] = name.endswith("lora_b")
    return torch.from_numpy(found)


def _chunks(jobs: list[Job]) -> Iterator[list[Job]]:
    """Neighbours of one form, up to TOGETHER."""
    chunk: list[Job] = []
    for job in jobs:
        if chunk and (len(chunk) == TOGETHER or _form_of(chunk[0]) != _form_of(job)):
            yield chunk
            chunk = []
        chunk.append(job)
    if chunk:
        yield chunk


def _freezes_a(job: Job) -> bool:
    return "A frozen" in job.arm


def _form_of(job: Job) -> tuple:
    return (_freezes_a(job), *(getattr(job.settings, name) for name in FORM))
