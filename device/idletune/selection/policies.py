"""Selection policies: whether a new dialogue set is admitted to the buffer, and which stored one is evicted for it.

- One interface for the paper's rule and its peers, so that an experiment swaps them by name.
- Every policy fills the buffer to its capacity first. None evicts a protected set (its answer has not been learned
  from yet), and an answered one only when no other is left: an answer cost the user something, and every training run
  uses all there are.
- No policy keeps state. Random draws come from (seed, number of sets seen), so a process that was killed and started
  again decides exactly as one that kept running, whatever the order of the buffer's rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..dialogue import DialogueSet
from ..errors import UsageError
from .scores import in_domain_dissimilarities

SCORES = ("eoe", "dss", "idd")
BLOCK = 256  # rows of a similarity matrix at a time


@dataclass(frozen=True)
class AdmissionDecision:
    """Whether the candidate is admitted, and the id of the stored set that is evicted for it, if any."""

    admitted: bool
    evicts: int | None = None


ADMIT = AdmissionDecision(True)
REJECT = AdmissionDecision(False)


@dataclass
class BufferView:
    """The buffer as a policy sees it: one row for each stored set, n in all, in any order."""

    ids: list[int]  # grow with time of arrival
    embeddings: np.ndarray  # float32 (n, hidden), unit rows
    domains: list[str]
    eoe: np.ndarray  # (n,)
    dss: np.ndarray  # (n,)
    answered: np.ndarray  # bool (n,): evicted last
    protected: np.ndarray  # bool (n,): never evicted
    capacity: int
    seen: int  # sets of the stream before this one; the store keeps the count

    def __post_init__(self):
        columns = (self.embeddings, self.domains, self.eoe, self.dss, self.answered, self.protected)
        assert all(len(column) == len(self.ids) for column in columns), "one value for each stored set"

    @property
    def full(self) -> bool:
        return len(self.ids) >= self.capacity

    def evictable(self) -> np.ndarray:
        """Row numbers of the sets that may be evicted, oldest first, so that a draw does not depend on row order.

        Those without an answer, or else the answered ones that are not protected.
        """
        oldest_first = np.argsort(self.ids)
        free = oldest_first[~self.protected[oldest_first]]
        unanswered = free[~self.answered[free]]
        return unanswered if len(unanswered) else free


class Policy(ABC):
    """Decides about one candidate at a time; `seed` is a non-negative integer, used by random policies only."""

    def __init__(self, seed: int = 0):
        self.seed = seed

    def decide(self, candidate: DialogueSet, buffer: BufferView) -> AdmissionDecision:
        """Admit the candidate or not. The caller carries it out and counts the candidate as seen."""
        if not buffer.full:
            return ADMIT
        rows = buffer.evictable()
        return self._decide_when_full(candidate, buffer, rows) if len(rows) else REJECT

    @abstractmethod
    def _decide_when_full(self, candidate: DialogueSet, buffer: BufferView, rows: np.ndarray) -> AdmissionDecision:
        """The rule for a full buffer; `rows` (n,) holds at least one evictable row number."""

    def _generator(self, buffer: BufferView) -> np.random.Generator:
        return np.random.default_rng([self.seed, buffer.seen])


class Dominance(Policy):
    """The paper's rule: evict a stored set that the candidate beats on all scores, a random one of several.

    A tie beats nobody. The candidate's scores are taken as given, fresh at arrival; the IDD of the stored
    sets is computed anew, because it changes with every eviction (the released code lets it go stale).
    """

    def __init__(self, seed: int = 0, scores: Sequence[str] = SCORES):
        super().__init__(seed)
        unknown = [name for name in scores if name not in SCORES]
        if unknown or not scores:
            raise UsageError(f"cannot select by {list(scores)}; give one or more of {', '.join(SCORES)}")
        self.scores = tuple(scores)

    def _decide_when_full(self, candidate: DialogueSet, buffer: BufferView, rows: np.ndarray) -> AdmissionDecision:
        beaten = np.ones(len(buffer.ids), dtype=bool)
        for name in self.scores:
            beaten &= getattr(candidate.scores, name) > _stored_scores(buffer, name)
        rows = rows[beaten[rows]]
        return _evict(buffer, self._generator(buffer).choice(rows)) if len(rows) else REJECT


class Reservoir(Policy):
    """Uniform over the stream (Vitter's algorithm R): set number t is kept with probability capacity / t."""

    def _decide_when_full(self, candidate: DialogueSet, buffer: BufferView, rows: np.ndarray) -> AdmissionDecision:
        generator = self._generator(buffer)
        if generator.integers(buffer.seen + 1) >= buffer.capacity:
            return REJECT
        return _evict(buffer, generator.choice(rows))


class Fifo(Policy):
    """The newest sets: the oldest unprotected one is evicted."""

    def _decide_when_full(self, candidate: DialogueSet, buffer: BufferView, rows: np.ndarray) -> AdmissionDecision:
        return _evict(buffer, rows[0])


class DiverseReservoir(Policy):
    """Admits as Reservoir does, and evicts one of the closest pair of stored sets.

    The buffer looks like the stream, as a random sample does, with fewer near-duplicates.
    """

    def _decide_when_full(self, candidate: DialogueSet, buffer: BufferView, rows: np.ndarray) -> AdmissionDecision:
        if self._generator(buffer).integers(buffer.seen + 1) >= buffer.capacity:
            return REJECT
        return _evict(buffer, rows[_most_redundant(buffer.embeddings[rows], _others(buffer, rows))])


class RecentDiverse(Policy):
    """Considers every second candidate, by a draw, and evicts the older of the closest pair, the candidate included.

    The chance that a set is still there falls exponentially with its age (Aggarwal's biased reservoir, VLDB 2006), so
    the buffer follows a user who changes. Of two that say the same, the newer stays. Of a pair with one set that may
    not be evicted the other goes, the candidate too.
    """

    ADMISSION_RATE = 0.5

    def _decide_when_full(self, candidate: DialogueSet, buffer: BufferView, rows: np.ndarray) -> AdmissionDecision:
        if self._generator(buffer).random() >= self.ADMISSION_RATE:
            return REJECT
        points = np.vstack([buffer.embeddings[rows], candidate.embedding])  # evictable ones, oldest first
        loser = min(_closest_pair(points, _others(buffer, rows)))  # the older, or the one of `points`
        return REJECT if loser == len(rows) else _evict(buffer, rows[loser])


class KCenter(Policy):
    """Greedy online k-center: of the stored sets and the candidate, one of the closest pair goes.

    On a tie the candidate, then the older. Of a pair with one set that may not be evicted, the other goes.
    """

    def _decide_when_full(self, candidate: DialogueSet, buffer: BufferView, rows: np.ndarray) -> AdmissionDecision:
        points = np.vstack([candidate.embedding, buffer.embeddings[rows]])  # evictable ones, candidate first
        loser = _most_redundant(points, _others(buffer, rows))
        return REJECT if loser == 0 else _evict(buffer, rows[loser - 1])


class KeepFirst(Policy):
    """The control: the first sets stay, nothing is evicted."""

    def _decide_when_full(self, candidate: DialogueSet, buffer: BufferView, rows: np.ndarray) -> AdmissionDecision:
        return REJECT


_POLICIES: dict[str, Callable[[int], Policy]] = {
    "recent_diverse": RecentDiverse,
    "all_three": Dominance,
    "eoe": lambda seed: Dominance(seed, scores=("eoe",)),
    "dss": lambda seed: Dominance(seed, scores=("dss",)),
    "idd": lambda seed: Dominance(seed, scores=("idd",)),
    "random": Reservoir,
    "fifo": Fifo,
    "k_center": KCenter,
    "diverse": DiverseReservoir,
    "keep_first": KeepFirst,
}
POLICY_NAMES = tuple(_POLICIES)


def make_policy(name: str, seed: int = 0) -> Policy:
    """The policy of that name (POLICY_NAMES). Raises UsageError for an unknown one or a negative seed."""
    if name not in _POLICIES:
        raise UsageError(f"setting policy is {name!r}; choose from {', '.join(POLICY_NAMES)}")
    if seed < 0:
        raise UsageError(f"the seed is {seed}; use a whole number from 0 up")
    return _POLICIES[name](seed)


def _stored_scores(buffer: BufferView, name: str) -> np.ndarray:
    if name == "idd":
        return in_domain_dissimilarities(buffer.embeddings, buffer.domains)
    return np.asarray(getattr(buffer, name))


def _evict(buffer: BufferView, row: int) -> AdmissionDecision:
    """Admit the candidate in the place of a row."""
    return AdmissionDecision(True, int(buffer.ids[row]))


def _others(buffer: BufferView, rows: np.ndarray) -> np.ndarray:
    """The embeddings of all stored sets but those `rows`."""
    return np.delete(buffer.embeddings, rows, axis=0)


def _similarities(points: np.ndarray, fixed: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Cosines of `points` (n, hidden) with each other and `fixed` (m, hidden), -inf with themselves.

    Yields blocks (b, n + m) with the number of their first row: all pairs of a large buffer do not fit in memory.
    Rounded, because the two cosines of a pair are two sums and may differ in the last bit.
    """
    everything = np.vstack([points, fixed]).T
    for start in range(0, len(points), BLOCK):
        similarity = (points[start : start + BLOCK] @ everything).round(6)
        np.fill_diagonal(similarity[:, start:], -np.inf)
        yield start, similarity


def _closest_pair(points: np.ndarray, fixed: np.ndarray) -> tuple[int, int]:
    """The row of `points` and the row of both together that are closest; on a tie the first."""
    best, pair = -np.inf, (0, 0)
    for start, similarity in _similarities(points, fixed):
        row, other = np.unravel_index(similarity.argmax(), similarity.shape)
        if similarity[row, other] > best:
            best, pair = similarity[row, other], (start + int(row), int(other))
    return pair


def _most_redundant(points: np.ndarray, fixed: np.ndarray) -> int:
    """The row of `points` in the closest pair, `fixed` points included.

    Of two in `points`, the one nearer to the rest; on a tie the first.
    """
    # Compare by the nearest neighbour, which a pair shares, then by the second nearest.
    ranked = np.concatenate([-np.sort(-rows, axis=1)[:, :2] for _, rows in _similarities(points, fixed)])
    return max(range(len(points)), key=lambda point: (*ranked[point], -point))
