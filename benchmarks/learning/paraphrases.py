"""Do paraphrases of the answered questions pay? The product's own synthesis and its own trainer, on a CPU.

The same answers train alone and with the paraphrases that pass the product's checks. Paraphrases add rows
(packed sequences) to a pass, so both are trained in as many rows as the product takes for the answers alone, and in as
many as it takes for all. What the model wrote is kept in the folder of the examples, never in the results.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from common import make_layers
from idletune.dialogue import Exchange
from idletune.examples import Example
from idletune.learning.synthesis import SynthesisReport, Synthesizer
from idletune.model.base_model import BaseModel
from idletune.settings import Settings
from idletune.training.layers import Layers
from idletune.training.packing import PackedSequence, pack, plan_sequences
from idletune.training.trainer import Trainer, planned_sequences
from selection.gains import SYNTHESIS
from selection.streams import split_stream

from .experiments import LONGEST
from .lines import Lines
from .prepare import Preparation
from .product import MEMORY_MB
from .report import BASE, Cells, by_data_set, counted
from .streams import LENGTH, PARAPHRASED

EXPERIMENT = "paraphrases"
ANSWERS = 32
RATE = Settings().learning_rate / 2  # Gemma 3 trained at it when this was first measured; one for all lines
WRITTEN = "written"  # the line that says how many paraphrases passed
ARMS = PLAIN, SHORT, BOTH, LONG = "answers", "both, rows of answers", "both", "answers, rows of both"
DIFFERENCES = {"as it comes": (BOTH, PLAIN), "rows of answers": (SHORT, PLAIN), "rows of both": (BOTH, LONG)}


class Answered:
    """A stream's answers and their paraphrases as examples, as the product encodes them, and what is held out."""

    def __init__(self, model: BaseModel, stream: str, data: Path, texts: list[list[str]]):
        exchanges, (_, held_out) = answers(model, stream, data), split_stream(stream, LENGTH, data)
        reworded = [Exchange(text, e.response) for e, some in zip(exchanges, texts) for text in some]
        self.answers = [_encode(model, exchange, Settings().train_on_questions) for exchange in exchanges]
        self.both = self.answers + [_encode(model, exchange) for exchange in reworded]
        self.held_out = [_encode(model, exchange) for exchange in held_out]

    def arms(self, settings: Settings) -> Iterator[tuple[str, list[Example], int]]:
        """Each arm's name, examples and rows; those that tell most come first."""
        few, many = (len(planned_sequences(examples, settings)) for examples in (self.answers, self.both))
        yield from ((PLAIN, self.answers, few), (SHORT, self.both, few))
        yield from ((BOTH, self.both, many), (LONG, self.answers, many))


def answers(model: BaseModel, stream: str, data: Path) -> list[Exchange]:
    """The exchanges that taps.py types the answers of, as many as a buffer of the selection benchmark holds."""
    return Preparation(model, data).tapped(stream)[:ANSWERS]


def _encode(model: BaseModel, exchange: Exchange, train_on_question: bool = False) -> Example:
    return model.encode_exchange(
        exchange.question, exchange.response, max_tokens=LONGEST, train_on_question=train_on_question
    )


class HeldOut:
    """Losses of examples under one adapter after another; the layers below the adapter are passed once."""

    def __init__(self, layers: Layers, examples: list[Example]):
        self._layers, self._examples = layers, examples
        numbers = plan_sequences(examples, LONGEST, range(len(examples)))
        self._rows = [(some, self._above_frozen(pack([examples[i] for i in some]))) for some in numbers]

    def losses(self) -> list[float]:
        """Mean nats per labelled token of each example."""
        found = np.zeros(len(self._examples))
        for numbers, sequence in self._rows:
            counts = [int((self._examples[i].labels >= 0).sum()) for i in numbers]
            each = np.split(self._layers.token_losses(sequence), np.cumsum(counts)[:-1])
            found[numbers] = [losses.mean() for losses in each]
        return found.tolist()

    def _above_frozen(self, sequence: PackedSequence) -> PackedSequence:
        return replace(sequence, state=self._layers.frozen_forward([sequence])[0])


class Paraphrases:
    """Writes, trains and measures with one model, stream after stream; what `lines` have is passed by."""

    def __init__(self, model: Path, folder: Path, data: Path, lines: Lines, threads: int):
        self.path, self.folder, self.data, self.lines, self.threads = model, folder, data, lines, threads

    def run(self, seeds: int, seconds: float, streams: Sequence[str] = PARAPHRASED) -> None:
        """So many adapters of each arm; no stream is begun once the seconds are over."""
        start = time.monotonic()
        for seed, stream in product(range(seeds), streams):
            missing = [arm for arm in ARMS if (EXPERIMENT, stream, arm, seed) not in self.lines]
            if missing and time.monotonic() - start < seconds:
                self._stream(stream, seed)

    def _stream(self, stream: str, seed: int) -> None:
        with BaseModel(self.path, context_tokens=1024, sequences=8, threads=self.threads) as model:
            answered = Answered(model, stream, self.data, self._written(model, stream))
        settings = Settings(seed=seed, threads=self.threads, learning_rate=RATE)
        layers, _ = make_layers(self.path, LONGEST, MEMORY_MB, self.threads, settings)
        held_out = HeldOut(layers, answered.held_out)
        with layers.lora.disabled():
            self._write(stream, BASE, 0, held_out.losses())
        found: dict[tuple[int, int], tuple[list[float], float]] = {}  # two arms are one where both need no more rows
        for arm, examples, rows in answered.arms(settings):
            key = len(examples), rows
            if (EXPERIMENT, stream, arm, seed) not in self.lines:
                if key not in found:
                    seconds = train(layers, examples, settings, rows)
                    found[key] = held_out.losses(), seconds
                losses, seconds = found[key]
                self._write(stream, arm, seed, losses, rows=rows, cpu_seconds=seconds)

    def _written(self, model: BaseModel, stream: str) -> list[list[str]]:
        """The paraphrases of each answered question; written once."""
        path = self.folder / f"{self.path.stem}-{stream.strip('/').replace('/', '-')}-paraphrases.json"
        if not path.is_file():
            settings, report, start = Settings(paraphrases=SYNTHESIS), SynthesisReport(), time.process_time()
            questions = [exchange.question for exchange in answers(model, stream, self.data)]
            texts = Synthesizer(model, settings).paraphrase(questions, report, settings.seed)
            told = {"asked": report.asked, "accepted": report.accepted, "dropped": dict(report.dropped)}
            told["cpu_seconds"] = round(time.process_time() - start, 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"texts": texts, "report": told}))
        kept = json.loads(path.read_text())
        self._write(stream, WRITTEN, 0, None, **kept["report"])
        return kept["texts"]

    def _write(self, stream: str, arm: str, seed: int, losses: list[float] | None, **further) -> None:
        key = EXPERIMENT, stream, arm, seed
        if key not in self.lines:
            self.lines.write(key, {} if losses is None else {"alone": losses}, **further)
            print(*key, further, flush=True)


def train(layers: Layers, examples: list[Example], settings: Settings, rows: int) -> float:
    """A fresh adapter, trained in so many rows, in as many passes as that takes; the processor's seconds."""
    layers.lora.initialize(settings.seed)
    trainer, start = Trainer(layers, examples, replace(settings, epochs=rows, min_steps=0)), time.process_time()
    trainer.sequences = trainer.sequences[:rows]
    trainer.run()
    return round(time.process_time() - start, 1)


def figures(lines: list[dict]) -> dict:
    """By model and group of streams: how many paraphrases passed, the gain of the answers alone over the base, and how
    much more is gained with paraphrases (DIFFERENCES); rows and seconds of the processor of an adapter."""
    found: dict[str, dict] = {}
    for model in sorted({line["model"] for line in lines}):
        some = [line for line in lines if line["model"] == model]
        cells = Cells(some)
        streams = cells.streams(EXPERIMENT, *((arm, "alone") for arm in (BASE, *ARMS)))
        found[model] = {name: _part(cells, some, group) for name, group in by_data_set(streams).items()}
    return found


def _part(cells: Cells, lines: list[dict], streams: list[str]) -> dict:
    sides = {name: tuple((arm, "alone") for arm in pair) for name, pair in DIFFERENCES.items()}
    lines = [line for line in lines if line["stream"] in streams]
    return counted(cells, EXPERIMENT, streams) | {
        "written": written([line for line in lines if line["arm"] == WRITTEN]),
        "gain": cells.difference(EXPERIMENT, (PLAIN, "alone"), (BASE, "alone"), streams),
        "more": {name: cells.difference(EXPERIMENT, *pair, streams) for name, pair in sides.items()},
        "rows": {arm: _mean(lines, arm, "rows") for arm in (PLAIN, BOTH)},
        "cpu_seconds": {arm: _mean(lines, arm, "cpu_seconds") for arm in (PLAIN, BOTH, WRITTEN)},
    }


def written(lines: list[dict]) -> dict:
    """Paraphrases asked for and accepted, and what was wrong with the others."""
    dropped = sum((Counter(line["dropped"]) for line in lines), Counter())
    counts = {name: sum(line[name] for line in lines) for name in ("asked", "accepted")}
    return {**counts, "dropped": dict(dropped.most_common())}


def _mean(lines: list[dict], arm: str, name: str) -> float:
    return round(float(np.mean([line[name] for line in lines if line["arm"] == arm])), 1)
