"""A fleet through Flower's simulation engine: ClientApps in processes of Ray, the product's trainer, its strategy.

Run: make bench-fleet-simulation, or python benchmarks/fleets/simulation.py --phones FILE
Two rounds of a fleet of four, and users outside with what it came to: the numbers that fleet_worth.py's own rounds
must have as well. `--phones` is the file that fleet_worth.py writes.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

sys.path.append(str(Path(__file__).parents[1]))

from fleets.cells import QUICK, members  # noqa: E402
from fleets.models import opened_trainers  # noqa: E402
from fleets.phones import GIVEN, SETTINGS, Phones, divided  # noqa: E402
from idletune.fleet.privacy import noised  # noqa: E402
from idletune.fleet.shared import b_of, use_b  # noqa: E402
from idletune.fleet.update import make_update  # noqa: E402
from idletune.learning.cancellation import Cancellation  # noqa: E402
from idletune.learning.trainers import Trainers  # noqa: E402
from idletune_fleet.client_app import ARRAYS, EXAMPLES, METRICS, record_of, values_of  # noqa: E402
from idletune_fleet.strategy import FleetStrategy  # noqa: E402

MODEL, PHONES, FOUND = "IDLETUNE_MODEL", "IDLETUNE_FLEET_PHONES", "IDLETUNE_FLEET_FOUND"  # what Ray's processes know
FLOAT32 = replace(SETTINGS, matmul_dtype="float32")  # what the engines' numbers are compared in
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).parents[1])}
client, server = ClientApp(), ServerApp()


@cache
def phones() -> Phones:
    return Phones.load(Path(os.environ[PHONES]))


@client.train()
def train(message: Message, context: Context) -> Message:
    """A phone's round, as device/idletune/fleet/update.py makes it of a home's answers."""
    number = members(QUICK, len(phones().of[QUICK.dataset]))[0][int(context.node_config["partition-id"])]
    shared = values_of(message.content[ARRAYS])
    with opened_trainers(Path(os.environ[MODEL]), FLOAT32) as found:
        trainers = Trainers(found.adapters, found.model, QUICK.terms.settings(FLOAT32))
        answers = divided(phones().of[QUICK.dataset][number].answers[:GIVEN])
        change = make_update(trainers, QUICK.terms, shared, *answers, Cancellation())
    values = shared + noised(change, QUICK.terms.noise_multiplier * QUICK.terms.clipping_norm)
    content = RecordDict({ARRAYS: record_of(values), METRICS: MetricRecord({EXAMPLES: 1})})
    return Message(content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    with opened_trainers(Path(os.environ[MODEL]), FLOAT32) as trainers:
        first = b_of(QUICK.terms.lora(trainers.shape))
    strategy, start = FleetStrategy(QUICK.terms, len(first)), time.monotonic()
    found = strategy.start(grid, record_of(first), num_rounds=QUICK.rounds, timeout=3600)
    print(json.dumps({"replies": strategy.replies, "seconds": time.monotonic() - start}), flush=True)
    np.save(os.environ[FOUND], values_of(found.arrays))


def told(b: np.ndarray) -> dict:
    """The length of the shared B, and the held-out loss of users outside with it."""
    with opened_trainers(Path(os.environ[MODEL]), FLOAT32) as trainers:
        lora = QUICK.terms.lora(trainers.shape)
        use_b(lora, b)
        outside = {n: phones().of[QUICK.dataset][n].held_out for n in members(QUICK, 16)[1][:2]}
        losses = {n: trainers.trainer_of(lora, held_out).evaluate(held_out) for n, held_out in outside.items()}
    return {"norm": float(np.linalg.norm(b)), "started": {n: total / count for n, (total, count) in losses.items()}}


def start() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phones", type=Path, default=Path(".cache/fleet_phones.npz"))
    parser.add_argument("--model", type=Path, default=Path(".cache/models/smollm2-135m-instruct-q4_1.gguf"))
    arguments = parser.parse_args()
    found = Path(".cache/fleet_simulated.npy").absolute()
    named = {PHONES: arguments.phones, MODEL: arguments.model, FOUND: found}
    os.environ.update(QUIET | {name: str(path.absolute()) for name, path in named.items()})
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 1}}
    run_simulation(server, client, QUICK.phones, backend_config=resources)
    print(json.dumps(told(np.load(found))))


if __name__ == "__main__":
    from fleets import simulation  # Ray's processes import it by this name

    simulation.start()
