"""Runs jobs, many adapters at once: what a GPU is for."""

import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from idletune.settings import Settings
from idletune.training.lora import Lora
from many_adapters.batches import States
from many_adapters.model import FrozenModel
from many_adapters.training import Run, fresh, losses, states_of, train

from .examples_file import ExamplesFile
from .experiments import Job
from .lines import Lines
from .streams import TAPS

TOGETHER = 256  # jobs between two looks at the clock
FORM = ("rank", "alpha", "targets", "top_share")


class Runner:
    """Measures jobs with one model until the time is up; what `lines` has is passed by.

    There is a line for each adapter, and one for the base on each list of examples that adapters are judged by.
    """

    def __init__(self, model: FrozenModel, lines: Lines, seconds: float):
        self.model, self.lines = model, lines
        self._end = time.monotonic() + seconds
        self._forms: dict[tuple, tuple[Lora, States]] = {}

    def run(self, jobs: Iterable[Job]) -> None:
        """In this order, as far as the time reaches."""
        left, last = [job for job in jobs if job.key not in self.lines], 0.0
        for chunk in _chunks(left):
            start = time.monotonic()
            if start + last > self._end:
                print(f"stopped before {chunk[0].key}", flush=True)
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
            self.lines.write(job.key, each, rows=len(run.sequences), parameters=changed)
        return sum(len(run.sequences) for run in runs)

    def _base(self, jobs: list[Job], lora: Lora, states: States) -> None:
        """The base's losses by what the jobs are judged by, once for each stream."""
        new = {job.stream: job for job in jobs if (job.experiment, job.stream, "base", 0) not in self.lines}
        wanted = [(stream, name) for stream, job in new.items() for name in job.judged]
        found = losses(states, lora, None, [new[stream].judged[name] for stream, name in wanted]) if wanted else []
        for stream, job in new.items():
            each = {name: some for (other, name), some in zip(wanted, found) if other == stream}
            self.lines.write((job.experiment, stream, "base", 0), each)

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
