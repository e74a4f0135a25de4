"""What a training step minimizes: the examples' weighted losses, and an odds-ratio term where one reply was preferred.

ORPO (Hong et al., EMNLP 2024, arXiv 2403.07691) adds -log sigmoid(log odds(chosen) - log odds(rejected)) to the plain
loss, with odds p / (1 - p) of the mean token probability p of a reply. It needs no reference model. Its gradient is a
factor on the loss of each token of the two replies, so both stand in one packed sequence and one pass computes all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..examples import Example

LEAST_LOSS = 1e-4  # nats per token, below which odds are clipped: those of a certain reply are infinite


@dataclass(frozen=True)
class Objective:
    """Examples by number: `weights` of their losses (1 where none is given), and for a chosen reply the example of the
    one that was `rejected`; that is in the sequences for the odds-ratio term alone, which counts `strength` times."""

    weights: Mapping[int, float] = field(default_factory=dict)
    rejected: Mapping[int, int] = field(default_factory=dict)
    strength: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether it is the mean loss of all tokens."""
        return not (self.weights or self.rejected)

    def trained(self, count: int) -> list[int]:
        """Those of so many examples whose own loss is minimized."""
        rejected = set(self.rejected.values())
        return [number for number in range(count) if number not in rejected]

    def factors(self, numbers: Sequence[int], examples: Sequence[Example], losses: np.ndarray) -> np.ndarray:
        """The derivative of the summed objective by each token's loss, float32 as `losses` (labelled,), of a packed
        sequence of the examples with these numbers."""
        counts = [labelled(examples[number]) for number in numbers]
        places = dict(zip(numbers, np.split(np.arange(len(losses)), np.cumsum(counts)[:-1])))
        found, rejected = np.ones(len(losses), np.float32), set(self.rejected.values())
        for number in numbers:
            found[places[number]] = 0 if number in rejected else self.weights.get(number, 1)
        for chosen, other in self.rejected.items():
            if chosen in places:
                start = len(places[chosen]) - answer_tokens(examples[chosen], examples[other])
                self._add_odds_ratio(found, losses, places[chosen][start:], places[other], self.weights.get(chosen, 1))
        return found

    def _add_odds_ratio(self, found, losses, chosen: np.ndarray, other: np.ndarray, weight: float) -> None:
        """The term's derivative; it counts as often as the chosen reply has tokens, as its plain loss does."""
        up, down = ((float(losses[at].sum(dtype=np.float64)), len(at)) for at in (chosen, other))
        pull = self.strength * weight / (1 + np.exp(log_odds(*up) - log_odds(*down)))
        found[chosen] += pull * _steepness(*up)
        found[other] -= pull * _steepness(*down) * len(chosen) / len(other)


@dataclass(frozen=True)
class TrainingData:
    """Examples, weights of their losses (1 where none is given), and the rejected replies to chosen ones, all by the
    example's number."""

    examples: list[Example]
    weights: Mapping[int, float] = field(default_factory=dict)
    rejected: Mapping[int, Example] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Of both sides."""
        return sum(len(example.tokens) for example in (*self.examples, *self.rejected.values()))

    def within(self, sequence_tokens: int, strength: float) -> tuple[list[Example], Objective]:
        """All examples, with the rejected ones of pairs that fit a packed sequence behind them, and the objective."""
        pairs = {
            chosen: other
            for chosen, other in self.rejected.items()
            if strength and are_comparable(self.examples[chosen], other, sequence_tokens)
        }
        numbers = {chosen: len(self.examples) + place for place, chosen in enumerate(pairs)}
        return [*self.examples, *pairs.values()], Objective(self.weights, numbers, strength)


def log_odds(total: float, tokens: int) -> float:
    """log(p / (1 - p)) of a reply whose tokens have this total loss in nats; p is their (geometric) mean probability.

    A reply that is all but certain counts as one of LEAST_LOSS.
    """
    mean = max(total / tokens, LEAST_LOSS)
    return -mean - float(np.log(-np.expm1(-mean)))


def _steepness(total: float, tokens: int) -> float:
    """How fast the log-odds fall with the mean loss."""
    return -1 / float(np.expm1(-max(total / tokens, LEAST_LOSS)))


def labelled(example: Example) -> int:
    """How many of its tokens carry a label."""
    return int((example.labels >= 0).sum())


def answer_tokens(chosen: Example, rejected: Example) -> int:
    """Labelled tokens of a chosen reply itself: those behind the prompt that it shares with the rejected one."""
    prompt = int(np.flatnonzero(rejected.labels >= 0)[0])
    return int((chosen.labels[prompt:] >= 0).sum())


def are_comparable(chosen: Example, rejected: Example, most_tokens: int) -> bool:
    """Whether both follow the same prompt, which no cut may have moved, and fit one packed sequence."""
    if not labelled(rejected) or len(chosen.tokens) + len(rejected.tokens) > most_tokens:
        return False
    prompt = int(np.flatnonzero(rejected.labels >= 0)[0]) + 1
    return np.array_equal(chosen.tokens[:prompt], rejected.tokens[:prompt]) and answer_tokens(chosen, rejected) > 0
