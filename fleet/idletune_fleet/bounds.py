"""How long a phone's change may be: what the server clips at, before it averages."""

import math
from collections.abc import Sequence

from idletune.fleet.terms import Terms


def longest_update(terms: Terms, size: int) -> float:
    """The norm that a clipped and noised change hardly ever exceeds: its noise is a sphere of radius z C sqrt(n)."""
    noise = terms.noise_multiplier * math.sqrt(size)
    return terms.clipping_norm * math.sqrt(1 + (1.1 * noise) ** 2)


def noise_of_average(terms: Terms, size: int) -> float:
    """The length of the noise in the average of all phones' replies, in clipping norms."""
    return terms.noise_multiplier * math.sqrt(size / terms.phones)


def median_norm(norms: Sequence[float]) -> float:
    """The (upper) median of the norms of changes, but for those that are none: no minority of phones can raise it above
    what another one sent. 0 where nobody changed anything."""
    found = sorted(norm for norm in norms if norm > 0)
    return found[len(found) // 2] if found else 0.0
