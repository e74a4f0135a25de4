"""Cache of the hidden states that enter the first trainable layer.

The layers below it are frozen, so these hidden states are the same in every epoch: they are computed once per run
(the activation cache of PAC, Ouyang et al. 2024, arXiv 2407.01031).
"""

import numpy as np

from ..examples import Example
from .layers import Layers
from .packing import pack, plan_sequences

# Sequences that go through the frozen layers together. More of them dequantize each layer less often; fewer let a
# cancellation through sooner.
SEQUENCES_TOGETHER = 4


class ActivationCache:
    """Hidden states float32 (n, hidden) by example, computed at first use and kept in memory.

    The packed sequences do not depend on the epoch's order, so a resumed run computes the same bits.
    """

    def __init__(self, layers: Layers, examples: list[Example], sequence_tokens: int):
        self._layers, self._examples = layers, examples
        sequences = plan_sequences(examples, sequence_tokens, np.arange(len(examples)))
        starts = range(0, len(sequences), SEQUENCES_TOGETHER)
        batches = [sequences[start : start + SEQUENCES_TOGETHER] for start in starts]
        self._batch_of = {index: batch for batch in batches for sequence in batch for index in sequence}
        self._kept: dict[int, np.ndarray] = {}

    def of(self, index: int) -> np.ndarray:
        """The hidden states of one example, float32 (n, hidden)."""
        if index not in self._kept:
            self._fill(self._batch_of[index])
        return self._kept[index]

    def clear(self) -> None:
        """Free the memory; what is wanted again is computed again."""
        self._kept.clear()

    def _fill(self, batch: list[list[int]]) -> None:
        sequences = [pack([self._examples[index] for index in indices]) for indices in batch]
        for indices, sequence, states in zip(batch, sequences, self._layers.frozen_forward(sequences, training=True)):
            self._kept.update(zip(indices, sequence.unpack(states)))
