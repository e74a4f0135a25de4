"""Mean losses of a training run, taken part by part: each is kept, and it can be cancelled in between.

A part is one training row in the trainer and one example in llama.cpp: a second or two on a phone.
"""

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np

from ..examples import Example
from ..model.base_model import BaseModel
from ..state.run_records import TrainingRun
from ..training.objective import log_odds
from ..training.packing import plan_sequences
from ..training.trainer import Trainer
from .cancellation import Cancellation


class Evaluation:
    """Over the open training run; `key` names all that its measures depend on, besides the adapter's strength."""

    def __init__(self, run: TrainingRun, key: str, sequence_tokens: int, cancellation: Cancellation):
        self.run, self.sequence_tokens, self.cancellation = run, sequence_tokens, cancellation
        run.under(key)

    def trainer(self, name: str, trainer: Trainer, examples: list[Example]) -> float:
        """Mean loss in the trainer, in nats per labelled token."""
        rows = plan_sequences(examples, self.sequence_tokens, np.arange(len(examples)))
        return self._mean(name, trainer.evaluate, [[examples[i] for i in row] for row in rows])

    def engine(self, name: str, model: BaseModel, examples: list[Example]) -> float:
        """The same in llama.cpp, with the adapter that the model has loaded."""
        return self._mean(name, model.negative_log_likelihood, [[example] for example in examples])

    def margin(self, name: str, trainer: Trainer, pairs: Sequence[tuple[Example, Example]]) -> float:
        """Mean log-odds of the first of two replies over the second, in the trainer."""

        def measure(pair: list[Example]) -> tuple[float, int]:
            chosen, rejected = (log_odds(*trainer.evaluate([example])) for example in pair)
            return chosen - rejected, 1

        return self._mean(name, measure, [list(pair) for pair in pairs])

    def _mean(self, name: str, measure: Callable, parts: list[list[Example]]) -> float:
        total, count = 0.0, 0
        for number, part in enumerate(parts):
            place = f"{name}, part {number}"
            if place not in self.run.measures:
                self.cancellation.check()
                self.run.keep(place, measure(part))
            loss, tokens = self.run.measures[place]
            total, count = total + loss, count + tokens
        return total / max(1, count)


def evaluation_key(examples: list[Example], *depends) -> str:
    """A digest of the held-out examples and of plain values."""
    digest = hashlib.sha256(json.dumps(depends).encode())
    for example in examples:
        digest.update(example.tokens.tobytes() + b"|" + example.labels.tobytes() + b"|")
    return digest.hexdigest()
