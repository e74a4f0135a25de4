"""Mean losses of one round, taken part by part: what is measured is kept, and a stop is heeded in between.

A part is one training row in the trainer and one example in llama.cpp: a second or two on a phone.
"""

import hashlib
import json
from collections.abc import Callable

from ..training.rows import Example, plan_rows
from .rounds import Round


class Measures:
    """Over the open round; `key` names all that its measures depend on, besides the adapter's strength."""

    def __init__(self, round: Round, key: str, row_tokens: int, heed_stop: Callable[[], None]):
        self.round, self.row_tokens, self.heed_stop = round, row_tokens, heed_stop
        round.under(key)

    def trainer(self, name: str, trainer, examples: list[Example]) -> float:
        """Mean loss in the trainer, in nats per labelled token."""
        rows = plan_rows(examples, self.row_tokens, range(len(examples)))
        return self._mean(name, trainer.evaluate, [[examples[i] for i in row] for row in rows])

    def engine(self, name: str, model, examples: list[Example]) -> float:
        """The same in llama.cpp, with the adapter that the model has loaded."""
        return self._mean(name, model.negative_log_likelihood, [[example] for example in examples])

    def _mean(self, name: str, measure: Callable, parts: list[list[Example]]) -> float:
        total, count = 0.0, 0
        for number, part in enumerate(parts):
            place = f"{name}, part {number}"
            if place not in self.round.measures:
                self.heed_stop()
                self.round.keep(place, measure(part))
            loss, tokens = self.round.measures[place]
            total, count = total + loss, count + tokens
        return total / max(1, count)


def measures_key(examples: list[Example], *depends) -> str:
    """A digest of the held-out examples and of plain values."""
    digest = hashlib.sha256(json.dumps(depends).encode())
    for example in examples:
        digest.update(example.tokens.tobytes() + b"|" + example.labels.tobytes() + b"|")
    return digest.hexdigest()
