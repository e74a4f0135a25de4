"""Mean losses of a training run, taken part by part: each is kept, and it can be cancelled in between.

A part is one training row in the trainer and one example in llama.cpp: a second or two on a phone. A row that is
measured both as the base model has it and with the adapter goes through the frozen layers once.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from ..examples import Example
from ..model.base_model import BaseModel
from ..state.run_records import TrainingRun
from ..training.objective import log_odds
from ..training.packing import PackedSequence, plan_sequences
from ..training.trainer import Trainer
from .cancellation import Cancellation

Measured = tuple[float, int]  # a sum over so many


class Evaluation:
    """Over the open training run; `key` names all that its measures depend on, besides the adapter's strength."""

    def __init__(self, run: TrainingRun, key: str, sequence_tokens: int, cancellation: Cancellation):
        self.run, self.sequence_tokens, self.cancellation = run, sequence_tokens, cancellation
        run.under(key)

    def trainer(self, name: str, trainer: Trainer, examples: list[Example]) -> float:
        """Mean loss in the trainer with its adapter as it stands, in nats per labelled token."""
        rows = self._rows(examples)
        return _mean([self._part(name, number, lambda: trainer.evaluate(row)) for number, row in enumerate(rows)])

    def losses(self, name: str, scale: float, trainer: Trainer, examples: list[Example]) -> tuple[float, float]:
        """Mean losses in the trainer: the base model's, and with the adapter at the `scale` it has."""
        parts = [[row] for row in self._rows(examples)]
        return self._both(name, scale, trainer, parts, trainer.layers.loss)

    def margins(self, scale: float, trainer: Trainer, pairs: Sequence[tuple[Example, Example]]) -> tuple[float, float]:
        """Mean log-odds of the first of two replies over the second, likewise."""

        def measure(chosen: PackedSequence, rejected: PackedSequence) -> Measured:
            odds = (log_odds(*trainer.layers.loss(sequence)) for sequence in (chosen, rejected))
            return next(odds) - next(odds), 1

        return self._both("margin", scale, trainer, [[[example] for example in pair] for pair in pairs], measure)

    def engine(self, name: str, model: BaseModel, examples: list[Example]) -> float:
        """Mean loss in llama.cpp, with the adapter that the model has loaded."""

        def measure(example: Example) -> Measured:
            return model.negative_log_likelihood([example])

        return _mean([self._part(name, number, lambda: measure(each)) for number, each in enumerate(examples)])

    def _rows(self, examples: list[Example]) -> list[list[Example]]:
        rows = plan_sequences(examples, self.sequence_tokens, np.arange(len(examples)))
        return [[examples[i] for i in row] for row in rows]

    def _both(
        self,
        name: str,
        scale: float,
        trainer: Trainer,
        parts: list[list[list[Example]]],
        measure: Callable[..., Measured],
    ) -> tuple[float, float]:
        """A measure of some rows together, by part: without the adapter and with it."""
        base, adapted = [], []
        for number, rows in enumerate(parts):
            sequences = cache(lambda: [trainer.above_frozen(row) for row in rows])
            with trainer.lora.disabled():
                base.append(self._part(f"{name} base", number, lambda: measure(*sequences())))
            adapted.append(self._part(f"{name} at {scale}", number, lambda: measure(*sequences())))
        return _mean(base), _mean(adapted)

    def _part(self, name: str, number: int, measure: Callable[[], Measured]) -> Measured:
        """One part, measured or as it was kept. Raises Cancelled before it would be measured."""
        place = f"{name}, part {number}"
        if place not in self.run.measures:
            self.cancellation.check()
            self.run.keep(place, measure())
        return self.run.measures[place]


def _mean(parts: list[Measured]) -> float:
    return sum(total for total, _ in parts) / max(1, sum(count for _, count in parts))


def evaluation_key(examples: list[Example], *depends) -> str:
    """A digest of the held-out examples and of plain values."""
    digest = hashlib.sha256(json.dumps(depends).encode())
    for example in examples:
        digest.update(example.tokens.tobytes() + b"|" + example.labels.tobytes() + b"|")
    return digest.hexdigest()
