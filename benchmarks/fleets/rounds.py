"""Rounds of many fleets side by side, and users outside of them, on any engine that trains adapters by the row.

The arithmetic of a round is the product's: its trainer's on B alone, the phone's own gate, clipping and noise
(device/idletune/fleet), and what its server does to the replies (fleet/idletune_fleet), whose mean is Flower's FedAvg.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Protocol

import numpy as np
import torch
from idletune.examples import Example
from idletune.fleet.privacy import noised
from idletune.fleet.shared import b_mask
from idletune.formats.model_shape import ModelShape
from idletune.settings import Settings
from idletune.training.lora import Lora, widened
from idletune_fleet.bounds import longest_update, median_norm

from .cells import HOSTILE, OPPOSITE, FleetCell, UserCell, members, owns
from .phones import GIVEN, SETTINGS, Phone, Phones, divided

LONGER = 10.0  # a poisoned phone's change, before the server clips it


Wanted = Callable[[UserCell], bool]


def everybody(cell: UserCell) -> bool:
    """All users outside."""
    return True


class Engine(Protocol):
    """Trains and evaluates adapters of one form: float32 rows (adapters, n) in Lora's order, examples for each row."""

    device: torch.device
    name: str  # what it is and where it runs, for people

    def train(
        self,
        lora: Lora,
        rows: torch.Tensor,
        examples: list[list[Example]],
        settings: Settings,
        seeds: list[int],
        trainable: np.ndarray | None,
    ) -> torch.Tensor:
        """The rows after a training of each, as the product's Trainer does it with `settings` and the row's seed."""
        ...

    def losses(self, lora: Lora, rows: torch.Tensor, examples: list[list[Example]]) -> np.ndarray:
        """Mean nats per labelled token, float64 (adapters,)."""
        ...


class Fleet:
    """A fleet under way: the shared adapter `row`, float32 (n,), whose B is at `places`, and what its last round was
    like."""

    def __init__(self, cell: FleetCell, phones: list[Phone], shape: ModelShape, device: torch.device):
        self.cell, self.terms = cell, cell.terms
        inside, self.outside = members(cell, len(phones))
        self.phones, self.lora = [phones[i] for i in inside], self.terms.lora(shape)
        self.row = torch.tensor(self.lora.flat, device=device)
        self.places = torch.tensor(np.flatnonzero(b_mask(self.lora)), device=device)
        self.helped, self.change = 0, 0.0

    @property
    def b(self) -> torch.Tensor:
        return self.row[self.places]

    def start(self) -> torch.Tensor:
        """Where a user outside starts from, in the form that personal training has: float32 (n,)."""
        if self.cell.form == "whole":
            return self.row
        lora = self.terms.lora(self.lora.shape)
        lora.flat[...] = self.row.cpu().numpy()
        return torch.tensor(widened(lora, SETTINGS).flat, device=self.row.device)

    def training(self) -> list[list[Example]]:
        """The answers that each phone trains on; a poisoned one may have others."""
        found = [divided(phone.answers[:GIVEN])[0] for phone in self.phones]
        if self.cell.poison == HOSTILE:
            found[0] = self.phones[0].hostile
        return found

    def judging(self) -> list[list[Example]]:
        return [divided(phone.answers[:GIVEN])[1] for phone in self.phones]

    def end_round(self, trained: torch.Tensor, helps: np.ndarray) -> None:
        """Average what the phones send after training: rows (phones, n); `helps` bool (phones,) by their own gates."""
        changes = trained[:, self.places] - self.b
        self.helped, self.change = int(helps.sum()), float(changes.norm(dim=1).median())
        honest = changes * torch.tensor(helps, device=changes.device)[:, None]
        sent = self._hidden(clip(honest, self.terms.clipping_norm))
        if self.cell.poison:
            sent[0] = changes[0] * (-LONGER if self.cell.poison == OPPOSITE else LONGER)
        bound = longest_update(self.terms, sent.shape[1])
        if self.cell.median:
            bound = min(bound, median_norm(sent.norm(dim=1).tolist()) or bound)
        self.row[self.places] += clip(sent, bound).mean(dim=0)

    def _hidden(self, changes: torch.Tensor) -> torch.Tensor:
        """In each phone's noise."""
        deviation = self.terms.noise_multiplier * self.terms.clipping_norm
        if not deviation:
            return changes
        hidden = np.stack([noised(change, deviation) for change in changes.cpu().numpy()])
        return torch.tensor(hidden, device=changes.device)


def clip(changes: torch.Tensor, bound: float) -> torch.Tensor:
    """Each (phones, m) scaled to a norm of at most `bound`, as fleet.privacy.clipped does it."""
    return changes * (bound / changes.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)


def one_round(engine: Engine, fleets: list[Fleet]) -> None:
    """A round of fleets of one kind."""
    lora, phones = fleets[0].lora, [len(fleet.phones) for fleet in fleets]
    rows = torch.cat([fleet.row.expand(count, -1) for fleet, count in zip(fleets, phones)])
    training, judging = ([one for fleet in fleets for one in part(fleet)] for part in (Fleet.training, Fleet.judging))
    seeds = [fleet.cell.seed for fleet, count in zip(fleets, phones) for _ in range(count)]
    before = engine.losses(lora, rows, judging)
    trained = engine.train(lora, rows, training, fleets[0].terms.settings(SETTINGS), seeds, b_mask(lora))
    helps = engine.losses(lora, trained, judging) < before
    for fleet, its_rows, its_helps in zip(fleets, trained.split(phones), np.split(helps, np.cumsum(phones)[:-1])):
        fleet.end_round(its_rows, its_helps)


def run(
    engine: Engine, phones: Phones, shape: ModelShape, cells: list[FleetCell], wanted: Wanted = everybody
) -> Iterator[dict]:
    """All rounds of some fleets, and what users outside have of them: a record of each cell as soon as it is known."""
    fleets = [Fleet(cell, phones.of[cell.dataset], shape, engine.device) for cell in cells]
    for number in range(1, max(cell.rounds for cell in cells) + 1):
        for kind in dict.fromkeys(cell.kind for cell in cells):
            of_kind = [fleet for fleet in fleets if fleet.cell.kind == kind and number <= fleet.cell.rounds]
            if not of_kind:
                continue
            one_round(engine, of_kind)
            if told := [fleet for fleet in of_kind if fleet.cell.tells(number)]:
                yield from tell(engine, phones, told, number, wanted)


def tell(
    engine: Engine, phones: Phones, fleets: list[Fleet], number: int, wanted: Wanted = everybody
) -> Iterator[dict]:
    """Records of the users of fleets of one kind after a round, and of the fleets."""
    rows, lora = {fleet.cell: fleet.start() for fleet in fleets}, Lora.from_settings(fleets[0].lora.shape, SETTINGS)
    for own in (0, 8, 32):
        cells = [
            cell
            for fleet in fleets
            if own in owns(fleet.cell, number)
            for user in fleet.outside
            if wanted(cell := UserCell(fleet.cell.dataset, user, own, fleet.cell.seed, fleet.cell, number))
        ]
        if cells:
            yield from users(engine, phones, lora, torch.stack([rows[cell.fleet] for cell in cells]), cells)
    probes = engine.losses(lora, torch.stack(list(rows.values())), [phones.probe] * len(fleets))
    for fleet, probe in zip(fleets, probes):  # after its users: a fleet that is told is whole
        told = {"norm": float(fleet.b.norm()), "change": fleet.change, "helped": fleet.helped}
        named = {"kind": "fleet", "key": fleet.cell.key, "round": number, **asdict(fleet.cell)}
        yield {**named, **told, "probe": float(probe), "numbers": len(fleet.b)}


def nothing(
    engine: Engine, phones: Phones, shape: ModelShape, cells: list[FleetCell], wanted: Wanted = everybody
) -> Iterator[dict]:
    """The same users without a fleet, and the probe's loss under the base model."""
    outside = sorted({(c.dataset, user, c.seed) for c in cells for user in members(c, len(phones.of[c.dataset]))[1]})
    lora = Lora.from_settings(shape, SETTINGS)
    fresh = {
        seed: torch.tensor(lora.initialize(seed).flat, device=engine.device) for seed in {s for _, _, s in outside}
    }
    probe = engine.losses(lora, fresh[outside[0][2]][None], [phones.probe])
    yield {"kind": "base", "key": "base", "engine": engine.name, "probe": float(probe[0])}
    for own in (0, 8, 32):
        if of_own := [cell for user in outside if wanted(cell := UserCell(*user[:2], own, user[2]))]:
            rows = torch.stack([fresh[cell.seed] for cell in of_own])
            yield from users(engine, phones, lora, rows, of_own)


def users(
    engine: Engine, phones: Phones, lora: Lora, rows: torch.Tensor, cells: list[UserCell]
) -> Iterator[dict[str, object]]:
    """Users with as many own answers each, who start from these rows: the loss of what is held out at the start, that
    of their own answers that judge, and both again once they trained on the others."""
    of = [phones.of[cell.dataset][cell.user] for cell in cells]
    own = cells[0].own
    told = {"started": engine.losses(lora, rows, [phone.held_out for phone in of])}
    if own:
        told["judged"] = engine.losses(lora, rows, [divided(phone.answers[:own])[1] for phone in of])
        training = [divided(phone.learned[:own])[0] for phone in of]
        trained = engine.train(lora, rows, training, SETTINGS, [cell.seed for cell in cells], None)
        told["held_out"] = engine.losses(lora, trained, [phone.held_out for phone in of])
        told["judged_after"] = engine.losses(lora, trained, [divided(phone.answers[:own])[1] for phone in of])
    else:
        told["hostile"] = engine.losses(lora, rows, [phone.hostile for phone in of])
    for n, cell in enumerate(cells):
        named = {**asdict(cell), "fleet": cell.fleet.key if cell.fleet else None}
        yield {"kind": "user", "key": cell.key, **named, **{name: float(values[n]) for name, values in told.items()}}
