"""What enters the first trained layer, kept for all epochs: the layers below it are frozen, so it never changes."""

import numpy as np

from .layers import Layers
from .rows import Example, make_row, plan_rows


class ActivationCache:
    """Values float32 (n, hidden) by example, made when first asked for and kept in memory.

    Examples are walked through the lower layers in groups that do not depend on the epoch's order, so that a
    resumed run finds the same bits.
    """

    def __init__(self, layers: Layers, examples: list[Example], row_tokens: int):
        self._layers, self._examples = layers, examples
        groups = plan_rows(examples, row_tokens, np.arange(len(examples)))
        self._group_of = {index: group for group in groups for index in group}
        self._kept: dict[int, np.ndarray] = {}

    def of(self, index: int) -> np.ndarray:
        if index not in self._kept:
            self._fill(self._group_of[index])
        return self._kept[index]

    def _fill(self, group: list[int]) -> None:
        row = make_row([self._examples[index] for index in group])
        self._kept.update(zip(group, row.parts(self._layers.entering(row))))
