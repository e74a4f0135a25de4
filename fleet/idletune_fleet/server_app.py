"""The ServerApp: rounds of averaging, kept after each, so that a run that was killed goes on; then a signed result.

It reads a fleet's folder (fleet_folder.py) that the run configuration names. A round begins when enough phones say that
they are ready: a phone that is asked alone would spend of its privacy for nothing.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from logging import INFO
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.supercore import log

from .client_app import CONFIG, LOSS, METRICS, READY, record_of, values_of
from .fleet_folder import FleetFolder, Progress
from .strategy import FleetStrategy

WAIT_SECONDS = 3600.0  # for a round's replies: a phone's slice takes eight minutes at most
PAUSE_SECONDS = 600.0  # until phones are asked again whether they are ready
QUERY_SECONDS = 60.0

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run what is left of the fleet's rounds, and write the result."""
    config = context.run_config
    seconds = (float(config[name]) for name in ("wait-seconds", "pause-seconds"))
    run(grid, FleetFolder(Path(str(config["folder"]))), *seconds)


def run(
    grid: Grid, folder: FleetFolder, wait_seconds: float = WAIT_SECONDS, pause_seconds: float = PAUSE_SECONDS
) -> None:
    """The same, for whoever has a Grid."""
    progress = folder.progress()
    while left := folder.terms.rounds - progress.rounds:
        nodes = ready_nodes(grid, folder.terms.digest)
        log(INFO, "%s rounds are left; %s of %s phones are ready", left, len(nodes), folder.terms.phones)
        enough = len(nodes) >= folder.terms.phones
        if not enough or not one_round(grid, random.sample(nodes, folder.terms.phones), folder, progress, wait_seconds):
            time.sleep(pause_seconds)
    folder.write_result(progress)


def ready_nodes(grid: Grid, terms: str) -> list[int]:
    """The nodes whose phones would take part in a round on these terms now."""
    content = RecordDict({CONFIG: ConfigRecord({"terms": terms})})
    asked = [Message(content, dst_node_id=node, message_type=MessageType.QUERY) for node in grid.get_node_ids()]
    replies = grid.send_and_receive(asked, timeout=QUERY_SECONDS) if asked else []
    told = [reply for reply in replies if not reply.has_error()]
    return [reply.metadata.src_node_id for reply in told if dict(reply.content.get(METRICS, {})).get(READY) == 1]


def one_round(grid: Grid, nodes: list[int], folder: FleetFolder, progress: Progress, wait_seconds: float) -> bool:
    """A round with these nodes, kept when it is done; False where too few of them took part."""
    strategy = FleetStrategy(folder.terms, len(progress.b))
    asked = {"terms": folder.terms.digest, "a-sha256": folder.a_sha256}
    found = strategy.start(
        SomeNodes(grid, nodes),
        record_of(progress.b),
        num_rounds=1,
        timeout=wait_seconds,
        train_config=ConfigRecord(dict(asked)),
        evaluate_config=ConfigRecord(dict(asked)),
    )
    if not strategy.replies[-1]:
        return False
    losses = found.evaluate_metrics_clientapp.get(1)
    progress.add(values_of(found.arrays), strategy.replies[-1], float(losses[LOSS]) if losses else None)
    folder.keep(progress)
    return True


@dataclass(frozen=True)
class SomeNodes:
    """A Grid, as far as a strategy uses it, of some nodes alone."""

    grid: Grid
    nodes: list[int]

    def get_node_ids(self) -> Iterable[int]:
        return self.nodes

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.grid.send_and_receive(messages, timeout=timeout)
