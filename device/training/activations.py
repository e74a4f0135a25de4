"""What enters the first trained layer, kept for all epochs: the layers below it are frozen, so it never changes."""

import numpy as np

from .layers import Layers
from .rows import Example, make_row, plan_rows

ROWS_TOGETHER = 4


class ActivationCache:
    """Values float32 (n, hidden) by example, made when first asked for and kept in memory.

    Examples are walked through the lower layers in rows that do not depend on the epoch's order, so that a
    resumed run finds the same bits; a few rows at a time, so that weights are unpacked less often and a stop
    request does not wait long.
    """

    def __init__(self, layers: Layers, examples: list[Example], row_tokens: int):
        self._layers, self._examples = layers, examples
        rows = plan_rows(examples, row_tokens, np.arange(len(examples)))
        batches = [rows[start : start + ROWS_TOGETHER] for start in range(0, len(rows), ROWS_TOGETHER)]
        self._batch_of = {index: batch for batch in batches for row in batch for index in row}
        self._kept: dict[int, np.ndarray] = {}

    def of(self, index: int) -> np.ndarray:
        if index not in self._kept:
            self._fill(self._batch_of[index])
        return self._kept[index]

    def _fill(self, batch: list[list[int]]) -> None:
        rows = [make_row([self._examples[index] for index in row]) for row in batch]
        for numbers, row, values in zip(batch, rows, self._layers.entering(rows)):
            self._kept.update(zip(numbers, row.parts(values)))
