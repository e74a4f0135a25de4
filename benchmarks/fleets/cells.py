"""The cells of the fleet's benchmark: fleets after some rounds, and users outside of them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
from idletune.fleet.privacy import multiplier_for
from idletune.fleet.terms import Terms

DATASETS = ("ubuntu_irc", "persona_chat")
MOST = {"ubuntu_irc": 12, "persona_chat": 32}  # phones of a fleet that leave users outside
ROUNDS, TOLD, OUTSIDE, DELTA = 10, (1, 3, 10), 8, 1e-5
FORMS = {"whole": {}, "small": {"targets": "down", "rank": 1, "alpha": 2.0, "top_share": 0.14}}
OPPOSITE, HOSTILE = "opposite", "hostile"


@dataclass(frozen=True)
class FleetCell:
    """A fleet of so many phones; which ones, `seed` says, and A follows from it as well.

    `epsilon` is of a phone over all rounds, towards whoever runs the fleet, or with `of_average` towards those who see
    the averages alone; 0 is no noise. `poison`: what the first phone does, sends the opposite of what it learned or
    trains on HOSTILE replies, both ten times as long and past the phone's own gate. `median`: the server clips at the
    median length of a round's changes as well, as the product's does.
    """

    dataset: str
    phones: int
    seed: int = 0
    rounds: int = ROUNDS
    form: str = "whole"
    clip: float = 5.0
    epsilon: float = 0.0
    of_average: bool = False
    poison: str = ""
    median: bool = True
    learning_rate: float = 1.6e-3
    epochs: int = 1

    @property
    def key(self) -> str:
        return "|".join(map(str, asdict(self).values()))

    @property
    def kind(self) -> tuple:
        """What the phones of one batch have in common."""
        return self.form, self.learning_rate, self.epochs

    @property
    def terms(self) -> Terms:
        noise = multiplier_for(self.epsilon, DELTA, self.rounds) if self.epsilon else 0.0
        return Terms(
            fleet=self.dataset,
            base_sha256="0" * 64,
            operator_key="0" * 64,
            operator="benchmark",
            phones=self.phones,
            rounds=self.rounds,
            clipping_norm=self.clip,
            noise_multiplier=noise / self.phones**0.5 if self.of_average else noise,
            epsilon=self.epsilon,
            delta=DELTA,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=self.seed,
            **FORMS[self.form],
        )

    def tells(self, number: int) -> bool:
        """Whether its users are looked at after a round: with noise, its budget is for all rounds."""
        return number == self.rounds or not self.epsilon and number in TOLD


QUICK = FleetCell("ubuntu_irc", 4, rounds=2)  # what engines are compared by


def members(cell: FleetCell, count: int) -> tuple[list[int], list[int]]:
    """Of so many phones, those in the fleet and the users outside: with a seed, the same order for all sizes."""
    order = np.random.default_rng(cell.seed).permutation(count).tolist()
    return order[: cell.phones], order[max(cell.phones, count - OUTSIDE) :]


def batches(datasets: tuple[str, ...] = DATASETS, seeds: tuple[int, ...] = (0, 1, 2)) -> Iterator[list[FleetCell]]:
    """Fleets that run side by side, the most telling first."""

    def every(*changes: dict, phones: tuple[str | int, ...] = (8,)) -> list[FleetCell]:
        return [
            FleetCell(dataset, MOST[dataset] if n == "most" else int(n), seed, **change)
            for dataset in datasets
            for seed in seeds
            for n in phones
            for change in changes
        ]

    poisons = [{"poison": OPPOSITE}, {"poison": HOSTILE}]
    small = {"form": "small", "clip": 10.0, "learning_rate": 0.3}
    private = [{**small, "epsilon": e, "rounds": r} for e in (8.0, 2.0) for r in TOLD]
    yield every({}, phones=(8, 4, "most"))
    yield every(*poisons, *({**one, "median": False} for one in poisons), phones=(8,))
    yield every(small, *({**one, "of_average": True} for one in private), phones=(8, "most"))
    yield every(*({"epsilon": e, "rounds": 1, "clip": 1.0} for e in (8.0, 2.0)))
    yield every(*({**one, "clip": 1.0} for one in (*poisons, {})), {"median": False})
    yield every(*private, phones=(8, "most"))
    yield every({"learning_rate": 8e-4, "clip": 1.0}, {"epochs": 3})


@dataclass(frozen=True)
class UserCell:
    """A user outside with `own` answers, who starts from nothing where there is no fleet."""

    dataset: str
    user: int
    own: int
    seed: int = 0
    fleet: FleetCell | None = None
    round: int = 0

    @property
    def key(self) -> str:
        fleet = f"{self.fleet.key} after {self.round}" if self.fleet else "nothing"
        return f"{self.dataset}|{self.user}|{self.own}|{self.seed}|{fleet}"


def owns(cell: FleetCell, number: int) -> tuple[int, ...]:
    """The numbers of own answers that users outside are measured with after a round."""
    plain = replace(cell, phones=8) == FleetCell(cell.dataset, 8, cell.seed)
    if cell.poison and number < cell.rounds:
        return (0,)
    return (0, 8, 32) if plain and cell.phones >= 8 else (0, 8)
