"""Training and losses of many adapters at once: the product's arithmetic, hundreds of runs in minutes on a GPU.

An adapter is a row of `flat` float32 (adapters, lora.size), laid out as Lora.flat is: `torch.from_numpy(lora.flat)` is
one, and `lora.flat[...] = flat[i].cpu()` gives one back. Plan, schedule, clipping, AdamW and objective are the
product's (training/trainer.py); frozen products are float32 where the product's are int8 as it comes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from idletune.examples import Example
from idletune.settings import Settings
from idletune.training.lora import Lora
from idletune.training.objective import Objective
from idletune.training.optimizer import BETA1, BETA2, EPSILON, cosine
from idletune.training.packing import plan_sequences
from idletune.training.trainer import planned_sequences

from .batches import Batch, Objectives, Packed, States, moved
from .model import Adapter, FrozenModel

TOKENS = 1 << 15  # of all rows of a training step: what it keeps for the backward pass is 1 MB a token at 135M


@dataclass
class Run:
    """One adapter's training: examples, the objective over them, settings. Without gradient accumulation, dropout or
    weight decay, which the product does not have as it comes."""

    examples: list[Example]
    settings: Settings
    objective: Objective = Objective()

    def __post_init__(self):
        s = self.settings
        if s.gradient_accumulation_steps != 1 or s.dropout or s.weight_decay:
            raise ValueError("gradient accumulation, dropout and weight decay are not known here")

    @cached_property
    def sequences(self) -> list[list[int]]:
        """Numbers of the examples in each packed sequence, in order."""
        return planned_sequences(self.examples, self.settings, self.objective)


def states_of(model: FrozenModel, lora: Lora) -> States:
    """An empty store of what enters the first sublayer with an adapter. One for all calls with adapters of a form
    saves the frozen sublayers' time."""
    first = next(n for n, step in enumerate(model.steps) if _keys(lora, step.layer, step.sublayer.linears))
    return States(model, first)


def fresh(lora: Lora, seeds: Sequence[int]) -> torch.Tensor:
    """Adapters as training begins, one for each seed: float32 (seeds, lora.size)."""
    return torch.stack([torch.from_numpy(lora.initialize(seed).flat.copy()) for seed in seeds])


def train(
    states: States,
    lora: Lora,
    flat: torch.Tensor,
    runs: Sequence[Run],
    trainable: torch.Tensor | None = None,
    tokens: int = TOKENS,
) -> torch.Tensor:
    """The adapters (runs, lora.size), on the model's device, after each row of `flat` was trained by its run.

    `trainable`: bool (lora.size,), the parameters that change; None for all. `tokens`: of a step, over all rows.
    """
    trained = flat.to(states.model.device, torch.float32, copy=True)
    states.add([example for run in runs for example in run.examples])
    for group in _groups(runs, tokens):
        trained[group] = _train_together(states, lora, trained[group], [runs[i] for i in group], trainable)
    return trained


def losses(
    states: States,
    lora: Lora,
    flat: torch.Tensor | None,
    examples: Sequence[Sequence[Example]],
    sequence_tokens: int = 1024,
    tokens: int = 4 * TOKENS,
) -> list[np.ndarray]:
    """Mean loss in nats per labelled token of each example: float32 (examples,) for each adapter.

    `examples`: a list for each row of `flat`; with None for `flat` the base alone is measured on each list.
    """
    states.add([example for some in examples for example in some])
    rows = [
        _Row(number, sequence, Packed.of([some[i] for i in sequence], [starts[i] for i in sequence]))
        for number, some in enumerate(examples)
        for starts in [states.add(some)]
        for sequence in plan_sequences(list(some), sequence_tokens, range(len(some)))
    ]
    found = [np.zeros(len(some), np.float32) for some in examples]
    for batch in _batches(rows, tokens, repeats=flat is None):
        for row, each in zip(batch, _mean_losses(states, lora, flat, batch)):
            found[row.adapter][row.numbers] = each
    return found


@dataclass(frozen=True)
class _Row:
    """A packed sequence of one adapter's examples, by their numbers."""

    adapter: int
    numbers: list[int]
    packed: Packed


def _batches(rows: list[_Row], tokens: int, repeats: bool) -> Iterator[list[_Row]]:
    """Rows of like length together; of an adapter one at a time unless `repeats`."""
    left = sorted(rows, key=lambda row: -len(row.packed))
    while left:
        most, used, batch, later = max(1, tokens // len(left[0].packed)), set(), [], []
        for row in left:
            fits = len(batch) < most and (repeats or row.adapter not in used)
            (batch if fits else later).append(row)
            used |= {row.adapter} if fits else set()
        yield batch
        left = later


@torch.no_grad()
def _mean_losses(states: States, lora: Lora, flat: torch.Tensor | None, rows: list[_Row]) -> list[np.ndarray]:
    adapter = None if flat is None else adapter_of(lora, flat[[row.adapter for row in rows]].to(states.model.device))
    found = Batch([row.packed for row in rows], states).token_losses(states.model, states.first, adapter).cpu().numpy()
    each = np.split(found, np.cumsum([len(row.packed.labels) for row in rows])[:-1])
    return [
        np.bincount(row.packed.owners, part, len(row.numbers))
        / np.bincount(row.packed.owners, minlength=len(row.numbers))
        for row, part in zip(rows, each)
    ]


def adapter_of(lora: Lora, flat: torch.Tensor) -> Adapter:
    """The matrices of adapters (rows, lora.size) by layer and name; gradients go back to `flat`."""
    names = [(number, name) for number in range(lora.first, lora.shape.layers) for name in lora.sizes(number)]
    shapes = [size for number, name in names for size in _pair_shapes(lora, number, name)]
    parts = [part.unflatten(1, shape) for part, shape in zip(flat.split([a * b for a, b in shapes], 1), shapes)]
    return Adapter(dict(zip(names, zip(parts[::2], parts[1::2]))), lora.scale)


def _pair_shapes(lora: Lora, number: int, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = lora.sizes(number)[name]
    return (lora.rank, columns), (rows, lora.rank)


def _keys(lora: Lora, layer: int, linears) -> list[str]:
    return [name for name in lora.sizes(layer) if name in linears] if layer >= lora.first else []


def _groups(runs: Sequence[Run], tokens: int) -> Iterator[list[int]]:
    """Numbers of runs that train together: of like length, the longest first."""
    order = sorted(range(len(runs)), key=lambda i: (-runs[i].settings.sequence_tokens, -len(runs[i].sequences)))
    while order:
        count = max(1, tokens // runs[order[0]].settings.sequence_tokens)
        yield sorted(order[:count], key=lambda i: -len(runs[i].sequences))
        order = order[count:]


def _train_together(
    states: States, lora: Lora, flat: torch.Tensor, runs: list[Run], trainable: torch.Tensor | None
) -> torch.Tensor:
    """`flat` trained in place, a row for each run, those with most steps first."""
    starts = [states.add(run.examples) for run in runs]
    first, second = torch.zeros_like(flat), torch.zeros_like(flat)
    frozen = None if trainable is None else ~trainable.to(flat.device)
    most = moved(np.array([run.settings.max_grad_norm for run in runs], np.float32), flat.device)
    for step in range(len(runs[0].sequences)):
        active = sum(step < len(run.sequences) for run in runs)
        live = flat[:active].detach().requires_grad_()
        _objective(states, lora, live, runs[:active], starts, step).backward()
        gradient, rates = live.grad, np.array([_rate(run, step) for run in runs[:active]], np.float32)
        if frozen is not None:
            gradient[:, frozen] = 0
        _clip(gradient, most[:active])
        _adamw(flat[:active], gradient, first[:active], second[:active], moved(rates, flat.device)[:, None], step + 1)
    return flat


def _objective(states: States, lora: Lora, flat: torch.Tensor, runs: list[Run], starts, step: int) -> torch.Tensor:
    """The sum of the runs' objectives at a step, each of its own row of `flat`."""
    sets = [run.sequences[step] for run in runs]
    packed = [
        Packed.of([run.examples[i] for i in numbers], [places[i] for i in numbers])
        for run, numbers, places in zip(runs, sets, starts)
    ]
    found = Batch(packed, states).token_losses(states.model, states.first, adapter_of(lora, flat))
    parts = [(run.objective, numbers, run.examples) for run, numbers in zip(runs, sets)]
    return Objectives(parts, flat.device).total(found)


def _rate(run: Run, step: int) -> float:
    return cosine(step, len(run.sequences), run.settings.learning_rate)


def _clip(gradient: torch.Tensor, most: torch.Tensor) -> None:
    """As optimizer.clip_grad_norm, each row by its own norm."""
    norm = gradient.norm(dim=1)
    gradient *= torch.where(norm > most, most / (norm + 1e-6), 1)[:, None]


def _adamw(parameters, gradient, first, second, rate: torch.Tensor, step: int) -> None:
    """As optimizer.AdamW; what is frozen has no gradient and so stays."""
    first.lerp_(gradient, 1 - BETA1)
    second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    spread = (second / (1 - BETA2**step)).sqrt_().add_(EPSILON)
    parameters -= rate / (1 - BETA1**step) * first / spread
