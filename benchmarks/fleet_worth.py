"""What a fleet is worth to a user outside of it: held-out loss from nothing and from the fleet's adapter.

Run: make bench-fleet, or python benchmarks/fleet_worth.py [--data FOLDER] [--minutes N]
Phones are the repliers of ubuntu_irc, and of persona_chat, whose speakers say ten lines at most, groups of twenty
speakers. Each phone of a fleet has 16 answers; users outside have 0, 8 or 32, and 20 held-out exchanges. A round is
the product's own (fleet/update.py), the averaging Flower's strategy as the ServerApp has it, over a Grid in this
process: Flower's simulation engine would do the same in processes of Ray. Cells are kept one by one.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from common import RESULTS, write_results
from flwr.app import Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity
from idletune.chat_files import read_exchanges
from idletune.dialogue import Exchange
from idletune.errors import IdleTuneError
from idletune.examples import Example
from idletune.fleet.privacy import epsilon, multiplier_for, noised
from idletune.fleet.shared import b_of, use_b
from idletune.fleet.terms import Terms
from idletune.fleet.update import make_update
from idletune.learning.adapters import Adapters
from idletune.learning.cancellation import Cancellation
from idletune.learning.trainers import Trainers
from idletune.model.base_model import BaseModel
from idletune.settings import Settings
from idletune.state.store import Store
from idletune.training.lora import Lora
from idletune_fleet.client_app import ARRAYS, EXAMPLES, METRICS, record_of, values_of
from idletune_fleet.strategy import FleetStrategy

MODEL = ".cache/models/smollm2-135m-instruct-q4_1.gguf"
CELLS = RESULTS / "fleet_cells.jsonl"
ADAPTERS = Path(".cache/bench_fleet")
GIVEN, ANSWERS, JUDGING, HELD_OUT, LONGEST = 16, 32, 2, 16, 256
OUTSIDE, SPEAKERS, ROUNDS, EPOCHS, DELTA = 2, 20, 3, 1, 1e-5
CLIP, LEARNING_RATE = 5.0, 1.6e-3
FORMS = {"whole": {}, "small": {"targets": "down", "rank": 1, "alpha": 2.0, "top_share": 0.14}}
SETTINGS = Settings(threads=1, sequence_tokens=LONGEST, example_tokens=LONGEST)


@dataclass(frozen=True)
class FleetCell:
    """`epsilon` is of a phone towards whoever runs the fleet, or with `of_average` towards those who see averages
    alone; 0 is no noise. `poisoned` phones send the opposite of what they learned, ten times as long as allowed."""

    dataset: str
    phones: int
    epsilon: float = 0.0
    seed: int = 0
    form: str = "whole"
    of_average: bool = False
    poisoned: int = 0
    rounds: int = ROUNDS

    @property
    def folder(self) -> Path:
        """Where its phones' replies are kept; a fleet of more rounds goes on from those of fewer, but for the noise."""
        fields = [str(value) for name, value in asdict(self).items() if name != "rounds" or self.epsilon]
        folder = ADAPTERS / "_".join(fields)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def key(self) -> str:
        return "|".join(map(str, asdict(self).values()))

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
            clipping_norm=CLIP,
            noise_multiplier=noise / self.phones**0.5 if self.of_average else noise,
            epsilon=self.epsilon,
            delta=DELTA,
            epochs=EPOCHS,
            learning_rate=LEARNING_RATE,
            seed=self.seed,
            **FORMS[self.form],
        )


@dataclass(frozen=True)
class UserCell:
    """A user outside of the fleet with `own` answers, who starts from nothing where there is no fleet."""

    dataset: str
    user: int
    own: int
    fleet: FleetCell | None = None
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{self.dataset}|{self.user}|{self.own}|{self.seed}|{self.fleet.key if self.fleet else 'nothing'}"


class Bench:
    """The model, the phones of both data sets, and the cells there are."""

    def __init__(self, model: BaseModel, trainers: Trainers, data: Path):
        self.model, self.trainers, self.data = model, trainers, data
        self.cells = {cell["key"]: cell for cell in kept_cells()}
        self._phones: dict[str, list[list[Exchange]]] = {}

    def phones(self, dataset: str) -> list[list[Exchange]]:
        """Exchanges by phone: those of fleets first, those outside last."""
        if dataset not in self._phones:
            self._phones[dataset] = read_phones(self.data / f"{dataset}.jsonl")
        return self._phones[dataset]

    def fleet(self, cell: FleetCell) -> np.ndarray:
        """The shared B after all rounds, measured or kept."""
        path = cell.folder / f"shared_{cell.rounds}.npy"
        if cell.key in self.cells and path.is_file():
            return np.load(path)
        lora = cell.terms.lora(self.trainers.shape)
        strategy, first = FleetStrategy(cell.terms, len(b_of(lora))), b_of(lora)
        found = strategy.start(LocalGrid(self, cell), record_of(first), num_rounds=cell.rounds)
        b = first if found.arrays is None else values_of(found.arrays)
        np.save(path, b)
        cost = epsilon([cell.terms.noise_multiplier] * cell.rounds, DELTA) if cell.epsilon else None
        costs = {"epsilon_of_one": cost, "bytes_of_update": int(b.nbytes), "norm": float(np.linalg.norm(b))}
        self.keep({"key": cell.key, "kind": "fleet", **asdict(cell), **costs, "replies": strategy.replies})
        return b

    def user(self, cell: UserCell) -> None:
        """Train on the user's own answers from the start that the cell names; the loss of held-out exchanges."""
        if cell.key in self.cells:
            return
        exchanges = self.phones(cell.dataset)[-1 - cell.user]
        own, held_out = exchanges[: cell.own], exchanges[ANSWERS : ANSWERS + HELD_OUT]
        lora, trainers = self.start(cell), self.trainers_for(SETTINGS)
        examples = [self.encode(e, learn=True) for e in own] or [self.encode(exchanges[0])]
        trainer = trainers.trainer_of(lora, examples)
        judged = [self.encode(e) for e in held_out]
        started = mean(trainer.evaluate(judged))
        if own:
            trainer.run()
        found = {"started": started, "held_out": mean(trainer.evaluate(judged))}
        named = {**asdict(cell), "fleet": cell.fleet.key if cell.fleet else None}
        self.keep({"key": cell.key, "kind": "user", **named, **found})

    def start(self, cell: UserCell) -> Lora:
        if cell.fleet is None:
            return Lora.from_settings(self.trainers.shape, replace(SETTINGS, seed=cell.seed))
        lora = cell.fleet.terms.lora(self.trainers.shape)
        use_b(lora, np.clip(self.fleet(cell.fleet), -1e3, 1e3))
        return lora

    def trainers_for(self, settings: Settings) -> Trainers:
        return Trainers(self.trainers.adapters, self.model, settings)

    def encode(self, exchange: Exchange, learn: bool = False) -> Example:
        return self.model.encode_exchange(
            exchange.question, exchange.response, max_tokens=LONGEST, train_on_question=learn
        )

    def keep(self, cell: dict) -> None:
        self.cells[cell["key"]] = cell
        with CELLS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(cell) + "\n")
        write_results("fleet", {"table": table(list(self.cells.values())), "cells": list(self.cells.values())})
        print(cell["key"], {k: v for k, v in cell.items() if k in ("started", "held_out", "seconds")}, flush=True)


class LocalGrid(Grid):
    """Phones in this process: each message is answered as a phone's ClientApp would."""

    def __init__(self, bench: Bench, cell: FleetCell):
        self.bench, self.cell = bench, cell
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # what a process of Flower's is told
        self.trainers = bench.trainers_for(cell.terms.settings(SETTINGS))

    def get_node_ids(self) -> Iterable[int]:
        return range(1, self.cell.phones + 1)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        values = self._kept_or_made(message.content["config"]["server-round"], message)
        if values is None:
            return Message(Error(1, "declined"), reply_to=message)
        content = {ARRAYS: record_of(values), METRICS: MetricRecord({EXAMPLES: 1})}
        return Message(RecordDict(content), reply_to=message)

    def _kept_or_made(self, number: int, message: Message) -> np.ndarray | None:
        """A phone's reply, kept as soon as it is made: an interrupted run goes on there. None where it cannot train."""
        node, shared = message.metadata.dst_node_id, values_of(message.content[ARRAYS])
        path = self.cell.folder / f"{number}_{node}.npy"
        if path.is_file():
            return np.load(path)
        start = cpu_seconds()
        try:
            change = self._change(node, shared)
        except IdleTuneError:  # numbers beyond what is trained on
            return None
        print(
            f"  round {number}, phone {node}: norm {np.linalg.norm(change):.3f}, {cpu_seconds() - start:.1f} s",
            flush=True,
        )
        if node <= self.cell.poisoned:
            change = change * np.float32(-10)
        values = shared + noised(change, self.cell.terms.noise_multiplier * self.cell.terms.clipping_norm)
        np.save(path, values)
        return values

    def _change(self, node: int, shared: np.ndarray) -> np.ndarray:
        exchanges = self.bench.phones(self.cell.dataset)[node - 1]
        answers = [self.bench.encode(exchange) for exchange in exchanges[:GIVEN]]
        judging = answers[:: GIVEN // JUDGING][:JUDGING]
        training = [answer for answer in answers if not any(answer is other for other in judging)]
        return make_update(self.trainers, self.cell.terms, shared, training, judging, Cancellation())

    def set_run(self, run) -> None: ...

    @property
    def run(self):
        raise NotImplementedError

    def create_message(self, *arguments, **named):
        raise NotImplementedError

    def get_nodes(self):
        raise NotImplementedError

    def push_messages(self, messages):
        raise NotImplementedError

    def pull_messages(self, message_ids):
        raise NotImplementedError


def read_phones(path: Path) -> list[list[Exchange]]:
    """The exchanges of each phone, those with enough of them."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    users = list(dict.fromkeys(line["user"] for line in lines))
    groups = [[user] for user in users]
    if "persona" in path.name:
        groups = [users[start : start + SPEAKERS] for start in range(0, len(users), SPEAKERS)]
    needed = ANSWERS + HELD_OUT
    found = [[e for user in group for e in read_exchanges(path, user, needed)][:needed] for group in groups]
    if "persona" in path.name:  # a phone's answers are of all its speakers, in turn
        found = [mixed(each) for each in found]
    return [each for each in found if len(each) == needed]


def mixed(exchanges: list[Exchange]) -> list[Exchange]:
    """In another order, the same each time."""
    return [exchanges[i] for i in np.random.default_rng(0).permutation(len(exchanges))]


def kept_cells() -> list[dict]:
    return [json.loads(line) for line in CELLS.read_text(encoding="utf-8").splitlines()] if CELLS.is_file() else []


def mean(summed: tuple[float, int]) -> float:
    return summed[0] / max(1, summed[1])


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def table(cells: list[dict]) -> list[dict]:
    """A row for each data set, fleet, number of own answers and seed: mean held-out loss over the users that were
    measured from the fleet and from nothing, and the mean of the differences (below 0: the fleet helps)."""
    users = {(c["dataset"], c["user"], c["own"], c["seed"], c["fleet"]): c for c in cells if c["kind"] == "user"}
    pairs: dict[tuple, list[tuple[float, float]]] = {}
    for (dataset, user, own, seed, fleet), cell in users.items():
        alone = users.get((dataset, user, own, seed, None))
        if fleet is not None and alone is not None:
            pairs.setdefault((dataset, fleet, own, seed), []).append((cell["held_out"], alone["held_out"]))
    return [_row(*key, found) for key, found in sorted(pairs.items())]


def _row(dataset: str, fleet: str, own: int, seed: int, found: list[tuple[float, float]]) -> dict:
    means = {"from_fleet": mean_of([a for a, _ in found]), "from_nothing": mean_of([b for _, b in found])}
    difference = mean_of([a - b for a, b in found])
    return {
        "dataset": dataset,
        "fleet": fleet,
        "own": own,
        "seed": seed,
        "users": len(found),
        **means,
        "difference": difference,
    }


def mean_of(values: list[float]) -> float:
    return round(float(np.mean(values)), 4)


def plan(datasets: tuple[str, ...]) -> Iterator[FleetCell | UserCell]:
    """The cells, the most telling first."""

    def around(fleet: FleetCell | None, owns: tuple[int, ...], dataset: str, seed: int = 0) -> Iterator[UserCell]:
        for own in owns:
            for user in range(OUTSIDE):
                yield UserCell(dataset, user, own, fleet, seed)

    for dataset in datasets:
        first = FleetCell(dataset, 8, rounds=1)
        yield first
        yield from around(first, (0,), dataset)
        yield from around(None, (0,), dataset)
        yield from around(first, (8,), dataset)
        yield from around(None, (8,), dataset)
    for dataset in datasets:
        yield FleetCell(dataset, 8)
        yield from around(FleetCell(dataset, 8), (8,), dataset)
    for dataset in datasets:
        yield FleetCell(dataset, 8, 8.0)
        yield from around(FleetCell(dataset, 8, 8.0), (0,), dataset)
        yield FleetCell(dataset, 8, poisoned=1)
        yield from around(FleetCell(dataset, 8, poisoned=1), (8,), dataset)
        yield from around(None, (32,), dataset)
        yield from around(FleetCell(dataset, 8), (32,), dataset)
        for fleet in (
            FleetCell(dataset, 4),
            FleetCell(dataset, 8, form="small"),
            FleetCell(dataset, 8, 8.0, form="small", of_average=True),
            FleetCell(dataset, 8, 2.0, form="small", of_average=True),
            FleetCell(dataset, 8, 2.0),
        ):
            yield fleet
            yield from around(fleet, (8,), dataset)
    for seed in (1, 2):
        for dataset in datasets:
            yield FleetCell(dataset, 8, seed=seed)
            yield from around(FleetCell(dataset, 8, seed=seed), (8,), dataset, seed)
            yield from around(None, (8,), dataset, seed)


@contextmanager
def opened(model: Path, data: Path) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as home, Store(Path(home)) as store:
        with BaseModel(model, context_tokens=1024, sequences=1, threads=1) as base:
            yield Bench(base, Trainers(Adapters(store, base.sha256), base, SETTINGS), data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", MODEL)))
    parser.add_argument("--datasets", nargs="*", default=["ubuntu_irc", "persona_chat"])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so long")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    with opened(arguments.model, arguments.data) as bench:
        for cell in plan(tuple(arguments.datasets)):
            if time.monotonic() > end:
                break
            bench.user(cell) if isinstance(cell, UserCell) else bench.fleet(cell)


if __name__ == "__main__":
    main()
