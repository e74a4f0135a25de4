"""ROUGE-1 (Lin 2004): overlap of single words, as F-measure. No stemming.

English gives what the rouge-score package gives. In any other script that package finds no words at all.
"""

from collections import Counter

from .. import words as segmentation


def words(text: str) -> list[str]:
    """The lower-cased words of a text, contractions split as the rouge-score package does."""
    return segmentation.words(text, contractions=False)


def rouge1(text: str, reference: str) -> float:
    """F-measure of shared words counted with repetition, 0 to 1; 0 when either side has no word."""
    mine, theirs = (Counter(words(side)) for side in (text, reference))
    shared = sum((mine & theirs).values())
    return 2 * shared / (mine.total() + theirs.total()) if shared else 0.0
