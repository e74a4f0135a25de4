"""Does a model overtrain on its few answers? The answers of `paraphrases` alone, trained more gently by the product.

Each arm takes a share of the learning rate there, and of the rows (packed sequences) that the product takes.
Lines are of the experiment of `paraphrases`: the base and the adapters trained as it comes are measured once for both.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

from common import make_layers
from idletune.model.base_model import BaseModel
from idletune.settings import Settings
from idletune.training.trainer import planned_sequences

from .experiments import LONGEST
from .lines import Key, Lines
from .paraphrases import EXPERIMENT, PLAIN, RATE, Answered, HeldOut, train
from .product import MEMORY_MB
from .report import BASE, Cells, by_data_set, counted
from .streams import PARAPHRASED


class Share(NamedTuple):
    """Of the learning rate of `paraphrases`, and of the rows (packed sequences)."""

    rate: float = 1.0
    rows: float = 1.0


ARMS = {"answers, half the rate": Share(rate=0.5), "answers, two thirds of the rows": Share(rows=2 / 3)}
TRAINED = {PLAIN: Share(), **ARMS}


class Gentler:
    """Trains and measures with one model, stream after stream; what `lines` have is passed by."""

    def __init__(self, model: Path, data: Path, lines: Lines, threads: int):
        self.path, self.data, self.lines, self.threads = model, data, lines, threads

    def run(self, seeds: int, seconds: float, streams: Sequence[str] = PARAPHRASED) -> None:
        """So many adapters of each arm; no stream is begun once the seconds are over."""
        start = time.monotonic()
        for seed, stream in product(range(seeds), streams):
            missing = [arm for arm in TRAINED if (EXPERIMENT, stream, arm, seed) not in self.lines]
            if missing and time.monotonic() - start < seconds:
                self._stream(stream, seed, missing)

    def _stream(self, stream: str, seed: int, arms: list[str]) -> None:
        with BaseModel(self.path, context_tokens=1024, sequences=1, threads=self.threads) as model:
            answered = Answered(model, stream, self.data, [])
        settings = Settings(seed=seed, threads=self.threads)
        layers, _ = make_layers(self.path, LONGEST, MEMORY_MB, self.threads, settings)
        held_out = HeldOut(layers, answered.held_out)
        if (EXPERIMENT, stream, BASE, 0) not in self.lines:
            with layers.lora.disabled():
                self._write((EXPERIMENT, stream, BASE, 0), held_out)
        every = len(planned_sequences(answered.answers, settings))
        for arm in arms:
            rows, its_rate = round(every * TRAINED[arm].rows), RATE * TRAINED[arm].rate
            seconds = train(layers, answered.answers, replace(settings, learning_rate=its_rate), rows)
            further = {"rows": rows, "learning_rate": its_rate, "cpu_seconds": seconds}
            self._write((EXPERIMENT, stream, arm, seed), held_out, **further)

    def _write(self, key: Key, held_out: HeldOut, **further) -> None:
        self.lines.write(key, {"alone": held_out.losses()}, **further)
        print(*key, further, flush=True)


def figures(lines: list[dict]) -> dict:
    """By model, arm and group of streams: how much more the arm gains than the answers as they come."""
    found: dict[str, dict] = {}
    for model in sorted({line["model"] for line in lines}):
        cells = Cells(line for line in lines if line["model"] == model)
        found[model] = {arm: _more(cells, arm) for arm in ARMS}
    return found


def _more(cells: Cells, arm: str) -> dict:
    sides = [(one, "alone") for one in (arm, PLAIN)]
    groups = by_data_set(cells.streams(EXPERIMENT, (BASE, "alone"), *sides))
    return {
        name: counted(cells, EXPERIMENT, some) | cells.difference(EXPERIMENT, *sides, some)
        for name, some in groups.items()
        if some
    }
