"""ROUGE-1 (Lin 2004): overlap of single words, as F-measure. No stemming."""

import re
from collections import Counter

_WORD = re.compile(r"[a-z0-9]+")


def rouge1(text: str, reference: str) -> float:
    """F-measure of shared words counted with repetition, 0 to 1; 0 when either side has no word."""
    mine, theirs = (Counter(_WORD.findall(side.lower())) for side in (text, reference))
    shared = sum((mine & theirs).values())
    return 2 * shared / (mine.total() + theirs.total()) if shared else 0.0
