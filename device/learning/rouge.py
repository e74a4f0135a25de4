"""ROUGE-1 (Lin 2004): overlap of single words, as F-measure. No stemming.

English gives what the rouge-score package gives. In any other script that package finds no words at all.
"""

import re
from collections import Counter

# Scripts written without spaces (Thai, Lao, Burmese, Khmer, Japanese, Chinese): each character is a word.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{UNSPACED}]|[^\\W_{UNSPACED}]+")


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return _WORD.findall(text.lower())


def rouge1(text: str, reference: str) -> float:
    """F-measure of shared words counted with repetition, 0 to 1; 0 when either side has no word."""
    mine, theirs = (Counter(words(side)) for side in (text, reference))
    shared = sum((mine & theirs).values())
    return 2 * shared / (mine.total() + theirs.total()) if shared else 0.0
