"""Words of a text in any script: what lexicons, the domain specific score and ROUGE count.

- A word is a run of letters and digits with their combining marks: a Devanagari vowel sign, a Hebrew point or an Arabic
  haraka belongs to its letter.
- Default-ignorable characters (a soft hyphen, ZWNJ, ZWJ, a variation selector) are no part of a word.
- Scripts written without spaces have no runs that are words. There the longest entry of a vocabulary that fits is one
  (maximum matching), else each base character with its marks. No dictionary of a language is needed, and results do
  not depend on which libraries are installed.
"""

import re
import unicodedata
from collections.abc import Collection

# Thai, Lao, Burmese, Khmer, Tai scripts, kana, Bopomofo, Han; halfwidth kana.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
    "\u3005-\u3007\u3021-\u3029\u3031-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_IGNORABLE = re.compile("[\u00ad\u034f\u061c\u200c-\u200f\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]")
_EXTENDING = "\u0e33\u0eb3\uff9e\uff9f"  # letters that extend a grapheme cluster: sara am, halfwidth voicing marks


def _marks() -> str:
    """Every combining mark, as ranges of a character class; enclosing ones (a keycap) are symbols, no part of words."""
    found = [c for c in range(0x300, 0x20000) if unicodedata.category(chr(c)) in ("Mn", "Mc")]
    starts = [c for c, before in zip(found, [None, *found]) if c - 1 != before]
    ends = [c for c, after in zip(found, [*found[1:], None]) if c + 1 != after]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends))


_MARK = f"[{_marks()}{_EXTENDING}]"
_SPACED = rf"(?:[^\W_{UNSPACED}]{_MARK}*)+"
_CLUSTER = rf"(?=[^\W_])[{UNSPACED}]{_MARK}*"
_RUN = rf"(?:{_CLUSTER})+"
# Apostrophes inside a word are part of it, a possessive 's is left out: "the doctor's" has to meet "doctor".
_CONTRACTED = re.compile(rf"({_RUN}|{_SPACED}(?:'(?!s\b){_SPACED})*)(?:'s\b)?")
_SPLIT = re.compile(f"{_RUN}|{_SPACED}")  # at apostrophes, as the rouge-score package does
_CLUSTERS = re.compile(_CLUSTER)


class Vocabulary:
    """Words of unspaced scripts, to be found by the longest match; words of other scripts are left out."""

    def __init__(self, known: Collection[str] = ()):
        self.known = frozenset(word for word in known if _CLUSTERS.match(word))
        self.longest = max((len(_CLUSTERS.findall(word)) for word in self.known), default=1)

    def split(self, run: str) -> list[str]:
        """A run of an unspaced script as words, from the left; a cluster where no entry fits."""
        clusters, found = _CLUSTERS.findall(run), []
        while clusters:
            lengths = range(min(self.longest, len(clusters)), 1, -1)
            length = next((n for n in lengths if "".join(clusters[:n]) in self.known), 1)
            found.append("".join(clusters[:length]))
            del clusters[:length]
        return found


NO_VOCABULARY = Vocabulary()


def words(text: str, vocabulary: Vocabulary = NO_VOCABULARY, contractions: bool = True) -> list[str]:
    """The lower-cased words of a text (NFC), in order and with repetition.

    `contractions` keeps "don't" one word and leaves out a possessive 's; without it both are split at the apostrophe.
    """
    return [
        word for run in runs(text, contractions) for word in (vocabulary.split(run) if _CLUSTERS.match(run) else (run,))
    ]


def runs(text: str, contractions: bool = True) -> list[str]:
    """As `words`, with each run of an unspaced script left whole: how a lexicon's author writes a word."""
    text = _IGNORABLE.sub("", unicodedata.normalize("NFC", text)).replace("\u2019", "'")
    lowered = text.lower().replace("i\u0307", "i")  # what a Turkish capital I with a dot becomes
    return (_CONTRACTED if contractions else _SPLIT).findall(lowered)
