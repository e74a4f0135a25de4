"""BM25: finds texts by the words they share with a question.

Okapi BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009) with the idf that
Lucene uses, which is never negative. Held in memory only, so that nothing of an encrypted home lies in plain on the
disk; plain Python rather than SQLite's FTS5, which not every build has and which finds no words in scripts without
spaces.
"""

import math
from collections import Counter, defaultdict

from ..words import words

K1, B = 1.2, 0.75  # the usual values
STEM = 5  # letters of a word that count: truncation stands in for a stemmer, in any language


def terms(text: str) -> list[str]:
    """The words of a text, in order, each cut to its first letters."""
    return [word[:STEM] for word in words(text)]


class LexicalIndex:
    """Texts under integer ids."""

    def __init__(self) -> None:
        self._counts: dict[int, Counter[str]] = {}  # terms of each text
        self._ids: defaultdict[str, set[int]] = defaultdict(set)  # texts that hold a term
        self._total = 0  # terms of all texts

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, id: int, text: str) -> None:
        """Index a text; one that is there under this id is replaced."""
        self.remove(id)
        counts = self._counts[id] = Counter(terms(text))
        self._total += counts.total()
        for term in counts:
            self._ids[term].add(id)

    def remove(self, id: int) -> None:
        """Drop a text and every term that no other text holds; nothing happens for an unknown id."""
        counts = self._counts.pop(id, Counter())
        self._total -= counts.total()
        for term in counts:
            self._ids[term].discard(id)
            if not self._ids[term]:
                del self._ids[term]

    def coverage(self, id: int, question: str) -> float:
        """The share of a question's terms that a text holds, each weighted by its idf; 0 for a question of no words.

        A term that no text holds weighs as one that a single text holds: else few texts could cover nothing.
        """
        weights = {term: self._idf(max(1, self._holding(term))) for term in sorted(set(terms(question)))}
        found = sum(weight for term, weight in weights.items() if term in self._counts[id])
        return found / (sum(weights.values()) or 1.0)

    def adds_to(self, id: int, question: str) -> bool:
        """Whether a text holds a term that the question does not."""
        return not self._counts[id].keys() <= set(terms(question))

    def search(self, question: str) -> list[tuple[int, float]]:
        """Ids and scores of the texts that share a term with the question, best first, of equal ones the newest."""
        scores: defaultdict[int, float] = defaultdict(float)
        for term in sorted(set(terms(question))):  # in an order that never changes: sums of floats depend on it
            idf = self._idf(self._holding(term))
            for id in self._ids.get(term, ()):
                scores[id] += idf * self._saturated(id, self._counts[id][term])
        return sorted(scores.items(), key=lambda found: (-found[1], -found[0]))

    def _holding(self, term: str) -> int:
        return len(self._ids.get(term, ()))

    def _idf(self, holding: int) -> float:
        """The weight of a term that so many of the texts hold."""
        return math.log(1 + (len(self) - holding + 0.5) / (holding + 0.5))

    def _saturated(self, id: int, count: int) -> float:
        """How much so many occurrences count in a text of this length."""
        length = self._counts[id].total() * len(self) / self._total
        return count * (K1 + 1) / (count + K1 * (1 - B + B * length))
