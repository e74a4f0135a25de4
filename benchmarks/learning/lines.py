"""The measured adapters, a line of JSON each, written as soon as one is measured: an interrupted run goes on there."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from common import done_lines, end_last_line

Key = tuple[str, str, str, int]  # experiment, stream, arm, seed
NAMES = ("experiment", "stream", "arm", "seed")


class Lines:
    """Those of one model in the file `path`, which may hold others'; `device` is where new ones are measured."""

    def __init__(self, path: Path, model: str, device: str):
        self.path, self.model, self.device = path, model, device
        end_last_line(path)
        found = [line for line in done_lines(path) if line["model"] == model]
        self._done = {tuple(line[name] for name in NAMES) for line in found}

    def __contains__(self, key: Key) -> bool:
        return key in self._done

    def write(self, key: Key, losses: Mapping[str, Iterable[float]], **further) -> None:
        """Nats per token by the name of what was judged. A base has the arm "base" and the seed 0."""
        told = {"model": self.model, "device": self.device, **dict(zip(NAMES, key)), **further}
        rounded = {name: [round(float(loss), 4) for loss in some] for name, some in losses.items()}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({**told, "losses": rounded}) + "\n")
        self._done.add(key)
