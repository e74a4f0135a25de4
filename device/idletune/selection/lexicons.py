"""Domain lexicons: which words belong to which part of a user's life.

Built in: sixteen everyday domains derived from Empath (export/lexicons.py made data/lexicons.json).
A folder of NAME.txt files replaces them, for another language or another life. The index from word to
domains is built once, so that a text costs one dictionary look-up a word.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..errors import DamagedDataError, UsageError
from ..small_files import read_json_object, read_text
from ..words import Vocabulary, runs, words

OTHER = "other"  # the dominant domain of a text that no lexicon knows a word of
BUILTIN = Path(__file__).parent.parent / "data" / "lexicons.json"

_COMMENT = re.compile(r"(?:^|\s)#.*")  # a # inside a word is part of it, as in c#


class Lexicons(Mapping[str, frozenset]):
    """Domain name -> frozenset of its lower-cased words, with the inverted index for fast counting."""

    def __init__(self, domains: Mapping[str, Iterable[str]]):
        self._words = {name: frozenset(w.lower() for w in domains[name]) for name in sorted(domains)}
        self._domains_of: dict[str, tuple[str, ...]] = {}
        for name, members in self._words.items():
            for word in members:
                self._domains_of[word] = self._domains_of.get(word, ()) + (name,)
        self._vocabulary = Vocabulary(self._domains_of)

    def __getitem__(self, name: str) -> frozenset:
        return self._words[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    def words(self, text: str) -> list[str]:
        """The words of a text, as they are looked up here: scripts without spaces are segmented by these lexicons."""
        return words(text, self._vocabulary)

    def overlaps(self, text_words: Iterable[str]) -> Counter:
        """Domain -> how many of the words it holds, with repetition; domains that hold none are absent."""
        known = self._domains_of
        return Counter(domain for word in text_words if word in known for domain in known[word])

    @classmethod
    def builtin(cls) -> "Lexicons":
        """The domains that come with IdleTune. Raises DamagedDataError when their file is not intact."""
        try:
            return cls(read_json_object(BUILTIN, "a file of lexicons", "reinstall idletune")["lexicons"])
        except (LookupError, TypeError, AttributeError) as error:
            raise DamagedDataError(f"damaged lexicons at {BUILTIN} ({error}); reinstall idletune") from None

    @classmethod
    def from_folder(cls, path: Path) -> "Lexicons":
        """One domain per NAME.txt, one word a line, UTF-8; # comments and blank lines do not count.

        A line of several words adds each of them, since texts are matched word by word. Raises UsageError
        for a missing or empty folder, an empty file or the reserved name "other", DamagedDataError for a
        file that is not UTF-8.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise UsageError(f"no lexicon folder at {folder}; make it, with one NAME.txt for each domain")
        files = sorted(file for file in folder.glob("*.txt") if not file.name.startswith("."))
        if not files:
            raise UsageError(f"no NAME.txt in {folder}; write one for each domain, one word a line")
        return cls({file.stem: _read_words(file) for file in files})


def _read_words(file: Path) -> set[str]:
    if file.stem.lower() == OTHER:
        raise UsageError(f"{file.name}: {OTHER!r} is the domain of texts no lexicon knows; rename the file")
    lines = _text(file).splitlines()
    found = {word for line in lines for word in runs(_COMMENT.sub("", line))}
    if not found:
        raise UsageError(f"{file.name} holds no word; write one word a line or remove the file")
    return found


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except OSError as error:
        raise UsageError(f"cannot read {file} ({error.strerror}); make it a file of yours") from None
