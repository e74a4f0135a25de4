"""Packed sequences of many runs side by side, as the tensors of one step.

A row holds the packed sequence of one run (training/packing.py): the prefix that its sets share once, then what each
set adds. What enters the first trained sublayer is the same with every adapter, so it is computed once for each example
and gathered from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from idletune.examples import Example
from idletune.training.objective import LEAST_LOSS, Objective, answer_tokens, labelled
from idletune.training.packing import shared_prefix

from .model import FrozenModel, Place

ROW_MULTIPLE = 16  # tokens of a row; memory-efficient attention wants masks of even widths
TOGETHER = 1 << 16  # tokens that go through the frozen sublayers together
PREFIX, PADDING = -1, -2  # number of the set that a token belongs to, where it is none


class States:
    """Hidden states that enter step `first`, one after the other in `values` (tokens, hidden), each example once."""

    def __init__(self, model: FrozenModel, first: int):
        self.model, self.first = model, first
        self.values = torch.zeros(1, model.shape.hidden, device=model.device)  # the first one is padding
        self._starts: dict[bytes, int] = {}

    def add(self, examples: Sequence[Example]) -> list[int]:
        """Where the states of each example start; those that are not there are computed."""
        keys = [np.ascontiguousarray(example.tokens, np.int32).tobytes() for example in examples]
        new = {key: example for key, example in zip(keys, examples) if key not in self._starts}
        rows = sorted(new, key=len, reverse=True)
        while rows:
            count = max(1, TOGETHER * 4 // len(rows[0]))
            self._compute(rows[:count], [new[key] for key in rows[:count]])
            rows = rows[count:]
        return [self._starts[key] for key in keys]

    @torch.no_grad()
    def _compute(self, keys: list[bytes], examples: list[Example]) -> None:
        lengths = [len(example.tokens) for example in examples]
        tokens = np.zeros((len(examples), rounded(lengths[0])), np.int64)
        for row, example in enumerate(examples):
            tokens[row, : lengths[row]] = example.tokens
        states = self.model.forward(
            self.model.embed(torch.from_numpy(tokens).to(self.model.device)),
            causal(len(examples), tokens.shape[1], self.model.device),
            range(self.first),
        )
        starts = len(self.values) + np.cumsum([0, *lengths[:-1]])
        self._starts.update(zip(keys, starts.tolist()))
        self.values = torch.cat([self.values, *(row[:length] for row, length in zip(states, lengths))])


def moved(array: np.ndarray, device) -> torch.Tensor:
    """A tensor of the array on the device. From pinned memory, so that nobody waits for the device's earlier work."""
    tensor = torch.from_numpy(array)
    return tensor if torch.device(device).type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def rounded(tokens: int) -> int:
    return -(-tokens // ROW_MULTIPLE) * ROW_MULTIPLE


def causal(rows: int, tokens: int, device) -> Place:
    """Rows of one text each."""
    positions = torch.arange(tokens, device=device).expand(rows, -1)
    return Place(positions, positions[:, :, None] >= positions[:, None, :], positions)


@dataclass(frozen=True)
class Packed:
    """A packed sequence: for each token its place in the states, its position and the number of its set (int64 (T,));
    the labelled tokens' indices, labels, and which of the sequence's sets each belongs to (int64 (labelled,))."""

    sources: np.ndarray
    positions: np.ndarray
    sets: np.ndarray
    labelled: np.ndarray
    labels: np.ndarray
    owners: np.ndarray

    @classmethod
    def of(cls, examples: Sequence[Example], starts: Sequence[int]) -> "Packed":
        shared = shared_prefix(list(examples))
        lengths = [len(example.tokens) - shared for example in examples]
        own = [np.arange(start + shared, start + shared + n) for start, n in zip(starts, lengths)]
        sets = np.repeat(np.arange(len(examples)), lengths)
        labels = np.concatenate([example.labels[shared:] for example in examples]).astype(np.int64)
        at = np.flatnonzero(labels >= 0)
        return cls(
            np.concatenate([np.arange(starts[0], starts[0] + shared), *own]),
            np.concatenate([np.arange(shared), *(np.arange(shared, shared + n) for n in lengths)]),
            np.concatenate([np.full(shared, PREFIX), sets]),
            shared + at,
            labels[at],
            sets[at],
        )

    def __len__(self) -> int:
        return len(self.sources)


class Batch:
    """One packed sequence of each of several runs, as tensors on the states' device."""

    def __init__(self, rows: Sequence[Packed], states: States):
        width, device = rounded(max(map(len, rows))), states.model.device

        def padded(name: str, filling: int) -> torch.Tensor:
            out = np.full((len(rows), width), filling, np.int64)
            for number, row in enumerate(rows):
                out[number, : len(row)] = getattr(row, name)
            return moved(out, device)

        def joined(arrays) -> torch.Tensor:
            return moved(np.concatenate(list(arrays)), device)

        self.rows, self.width = rows, width
        self.states = states.values[padded("sources", 0)]
        positions, sets = padded("positions", 0), padded("sets", PADDING)
        earlier = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        same = (sets[:, :, None] == sets[:, None, :]) | (sets[:, None, :] == PREFIX)
        self.place = Place(positions, same & earlier, positions)
        self.labelled = joined(number * width + row.labelled for number, row in enumerate(rows))
        self.labels = joined(row.labels for row in rows)

    def token_losses(self, model: FrozenModel, first: int, adapter) -> torch.Tensor:
        """Cross-entropy at the labelled tokens of all rows, float32 (labelled,)."""
        x = model.forward(self.states, self.place, range(first, len(model.steps)), adapter)
        return model.token_losses(x.flatten(0, 1).index_select(0, self.labelled), self.labels)


class Objectives:
    """The objectives of several runs' sequences as one sum (training/objective.py): weights of the labelled tokens, and
    the odds-ratio term of each pair."""

    def __init__(self, parts: Sequence[tuple[Objective, Sequence[int], Sequence[Example]]], device):
        weights, terms, chosen, other, at = [], [], [], [], 0
        for objective, numbers, examples in parts:
            counts = {number: labelled(examples[number]) for number in numbers}
            ends = dict(zip(numbers, at + np.cumsum(list(counts.values()))))
            rejected = set(objective.rejected.values())
            learned = sum(count for number, count in counts.items() if number not in rejected)
            for number in numbers:
                weight = 0 if number in rejected else objective.weights.get(number, 1)
                weights.append(np.full(counts[number], weight / learned, np.float32))
            for number in numbers:
                if number in objective.rejected:
                    beside = objective.rejected[number]
                    length = answer_tokens(examples[number], examples[beside])
                    chosen.append(np.arange(ends[number] - length, ends[number]))
                    other.append(np.arange(ends[beside] - counts[beside], ends[beside]))
                    terms.append(objective.strength * objective.weights.get(number, 1) * length / learned)
            at += sum(counts.values())
        self.weights = moved(np.concatenate(weights), device)
        self.terms = moved(np.array(terms, np.float32), device)
        self.sides = [_segments(side, device) for side in (chosen, other)]

    def total(self, losses: torch.Tensor) -> torch.Tensor:
        """The sum of all objectives; losses (labelled,) of all rows."""
        total = self.weights @ losses
        if not len(self.terms):
            return total
        up, down = (self._log_odds(losses, *side) for side in self.sides)
        return total + self.terms @ torch.nn.functional.softplus(down - up)

    def _log_odds(self, losses: torch.Tensor, tokens: torch.Tensor, pairs: torch.Tensor, counts: torch.Tensor):
        sums = torch.zeros(len(counts), device=losses.device).index_add(0, pairs, losses[tokens])
        mean = (sums / counts).clamp(min=LEAST_LOSS)
        return -mean - torch.log(-torch.expm1(-mean))


def _segments(parts: list[np.ndarray], device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens of all parts, the part each belongs to, and the parts' lengths."""
    lengths = np.array([len(part) for part in parts])
    tokens = np.concatenate([*parts, np.empty(0, np.int64)]).astype(np.int64)
    found = tokens, np.repeat(np.arange(len(parts)), lengths.astype(int)), lengths.astype(np.float32)
    return tuple(moved(array, device) for array in found)
