"""What a fleet is worth to a user outside of it: held-out loss from nothing and from the fleet's adapter.

Run: make bench-fleet, or python benchmarks/fleet_worth.py [--phones FILE] [--engine torch] [--minutes N] [--quick]
Each phone of a fleet has 16 answers; users outside have 0, 8 or 32, and 16 held-out exchanges. Which phones are in a
fleet, a seed says. fleets/cells.py has the fleets, fleets/rounds.py what they do. The engine is the product's trainer,
an adapter after the other on the CPU, or PyTorch with many adapters side by side (benchmarks/gpu), which takes a GPU.
Cells are kept one by one.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import RESULTS, write_results
from fleets.cells import DATASETS, QUICK, FleetCell, UserCell, batches, members
from fleets.phones import SETTINGS, Phones
from fleets.report import draw, table
from fleets.rounds import Engine, everybody, nothing, run
from idletune.formats.model_shape import ModelShape

MODEL = ".cache/models/smollm2-135m-instruct-q4_1.gguf"
PHONES = Path(".cache/fleet_phones.npz")
CELLS = RESULTS / "fleet_cells.jsonl"


class Kept:
    """Records in a file, a line each."""

    def __init__(self, path: Path):
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.path, self.records = path, [json.loads(line) for line in lines]
        self.known = {self._name(record) for record in self.records}

    def add(self, record: dict) -> None:
        if self._name(record) in self.known:
            return
        self.known.add(self._name(record))
        self.records.append(record)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def has(self, cell: FleetCell) -> bool:
        """Whether its last round was told."""
        return (cell.key, cell.rounds) in self.known

    @staticmethod
    def _name(record: dict) -> tuple:
        return record["key"], record.get("round", 0)


def measure(engine: Engine, phones: Phones, shape: ModelShape, kept: Kept, quick: bool, minutes: float) -> None:
    """All cells that are missing, the most telling batch first, until the time is over."""
    end = time.monotonic() + 60 * minutes
    plan = [[QUICK]] if quick else list(batches(tuple(phones.of)))
    wanted = is_quick if quick else everybody
    if ("base", 0) not in kept.known:
        _keep(kept, nothing(engine, phones, shape, plan[0], wanted), end)
    for cells in plan:
        if left := [cell for cell in cells if not kept.has(cell)]:
            _keep(kept, run(engine, phones, shape, left, wanted), end)


def is_quick(cell: UserCell) -> bool:
    """Two users, without own answers and with few."""
    return cell.own < 32 and cell.user in members(QUICK, 16)[1][:2]


def _keep(kept: Kept, records, end: float) -> None:
    for record in records:
        kept.add(record)
        if time.monotonic() > end:
            raise SystemExit("the time is over; what was measured is kept")


def report(kept: Kept) -> None:
    """results/fleet.json and its picture."""
    rows = table(kept.records)
    engine = next(record["engine"] for record in kept.records if record["kind"] == "base")
    write_results("fleet", {"engine": engine, "table": rows})
    draw(rows, RESULTS / "fleet.png")


@contextmanager
def opened_engine(arguments: argparse.Namespace) -> Iterator[Engine]:
    if arguments.engine == "torch":
        from fleets.torch_engine import TorchEngine

        yield TorchEngine(arguments.model)
    else:
        from fleets.models import opened_trainers
        from fleets.product import ProductEngine

        with opened_trainers(arguments.model, SETTINGS) as trainers:
            yield ProductEngine(trainers, arguments.matmul_dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", MODEL)))
    parser.add_argument("--phones", type=Path, default=PHONES, help="what the conversations are encoded to")
    parser.add_argument("--cells", type=Path, default=CELLS)
    parser.add_argument("--engine", choices=("product", "torch"), default="product")
    parser.add_argument("--matmul-dtype", default="auto", help="of the product's trainer")
    parser.add_argument("--quick", action="store_true", help="two rounds of one fleet of four, two users")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after so long")
    arguments = parser.parse_args()
    if not arguments.phones.is_file():
        from fleets.models import encoded_phones

        encoded_phones(arguments.model, arguments.data, DATASETS).save(arguments.phones)
    phones = Phones.load(arguments.phones)
    kept = Kept(arguments.cells)
    with opened_engine(arguments) as engine:
        measure(engine, phones, engine.shape, kept, arguments.quick, arguments.minutes)
    if arguments.cells == CELLS:
        report(kept)


if __name__ == "__main__":
    main()
