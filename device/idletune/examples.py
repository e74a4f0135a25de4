"""Training examples: tokens and the tokens to predict."""

from typing import NamedTuple

import numpy as np

IGNORE_INDEX = -100  # as in PyTorch: no loss at this position


class Example(NamedTuple):
    """One dialogue set as tokens: `labels[i]` is the token to predict at position i, or -100."""

    tokens: np.ndarray  # int32 (n,)
    labels: np.ndarray  # int32 (n,)


def labelled_example(tokens: list[int], start: int) -> Example:
    """An example whose labels are the tokens from `start` on, each at the position before it."""
    labels = np.full(len(tokens), IGNORE_INDEX, np.int32)
    labels[start - 1 : -1] = tokens[start:]
    return Example(np.array(tokens, np.int32), labels)
