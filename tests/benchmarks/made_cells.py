"""Results of cells whose gains are known."""

import numpy as np

from benchmarks.selection.gains import USUAL


def cell(policy, gain, retrieved=0.0, stream="dolly/", seed=0, exchanges=20, changed=None):
    """The product is recent_diverse; the others train in the usual way."""
    noise = np.random.default_rng(exchanges).standard_normal(exchanges)
    base = 3 + noise
    return {
        "stream": stream,
        "policy": policy,
        "bins": 32,
        "paraphrases": 0,
        "seed": seed,
        "eoe_reading": "token",
        "changed": ("" if policy == "recent_diverse" else USUAL) if changed is None else changed,
        "fifths": 5,
        "asked": 32,
        "replaced": 4,
        "tokens": 7580,
        "training_seconds": 12.4,
        "base": list(base),
        "adapted": list(base - gain - 0.01 * noise),
        "retrieval": list(base - retrieved),
        "retrieval_adapted": list(base - gain - retrieved),
        "probe_base": 3.0,
        "probe_adapted": 3.03,
    }
