"""How long a phone's change may be: what the server clips at, before it averages."""

import math
from collections.abc import Sequence

import numpy as np
from idletune.fleet.terms import Terms


def longest_update(terms: Terms, size: int) -> float:
    """The norm that a clipped and noised change hardly ever exceeds: its noise is a sphere of radius z C sqrt(n)."""
    noise = terms.noise_multiplier * math.sqrt(size)
    return terms.clipping_norm * math.sqrt(1 + (1.1 * noise) ** 2)


def median_norm(changes: Sequence[np.ndarray]) -> float:
    """The median of the norms of changes that are none, which a minority of phones cannot raise at will; 0 for none."""
    norms = [norm for change in changes if (norm := float(np.linalg.norm(change)))]
    return float(np.median(norms)) if norms else 0.0
