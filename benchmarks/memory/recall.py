"""How often the evidence of a question stands among the first exchanges that a system finds."""

from collections.abc import Callable

import numpy as np

from .history import History, text_of
from .systems import System

FIRST = (1, 3, 5, 10)
RESAMPLES, INTERVAL = 2000, (2.5, 97.5)


def hits(histories: list[History], system: System, bar: Callable[[int], None]) -> np.ndarray:
    """Whether a piece of evidence is among the first FIRST: bool (questions, len(FIRST)), in the order of the data."""
    found = []
    for done, history in enumerate(histories, start=1):
        search = system([text_of(exchange) for exchange in history.exchanges])
        for asked in history.questions:
            order = search(asked.question)
            found.append([bool(asked.evidence.intersection(order[:first])) for first in FIRST])
        bar(done)
    return np.array(found)


def shares(found: np.ndarray) -> dict[str, float]:
    """Recall at each of FIRST."""
    return {str(first): round(float(share), 4) for first, share in zip(FIRST, found.mean(axis=0))}


def difference(one: np.ndarray, other: np.ndarray, first: int = 3, seed: int = 0) -> dict[str, float]:
    """One system's recall minus another's on the same questions, with its 95 % bootstrap interval."""
    column = FIRST.index(first)
    each = one[:, column].astype(float) - other[:, column]
    draws = np.random.default_rng(seed).integers(len(each), size=(RESAMPLES, len(each)))
    low, high = np.percentile(each[draws].mean(axis=1), INTERVAL)
    return {"more": round(float(each.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
