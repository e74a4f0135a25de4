"""What the measured adapters come to: gains over the untouched base and differences, with 95 % intervals.

Streams, and within each its seeds and its exchanges, are drawn anew (selection/gains.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from selection.gains import interval

from .experiments import ARMS, FORMS, SHARES, THUMBS
from .streams import UNTOUCHED, data_set

BASE, DEFAULT = "base", "as it comes"
WAYS = ("alone", "words")  # what adapters are judged by: without retrieval, and behind what it shows


class Cells:
    """Losses (seeds, exchanges) by experiment, stream, arm and what they were judged by ("alone", "words", ...)."""

    def __init__(self, lines: Iterable[dict]):
        rows: dict[tuple, dict[int, list[float]]] = defaultdict(dict)
        self.parameters: dict[str, int] = {}
        for line in lines:
            self.parameters |= {line["arm"]: line["parameters"]} if "parameters" in line else {}
            for way, losses in line["losses"].items():
                rows[line["experiment"], line["stream"], line["arm"], way][line["seed"]] = losses
        self._losses = {key: np.array([found[seed] for seed in sorted(found)]) for key, found in rows.items()}

    def __contains__(self, key: tuple) -> bool:
        return key in self._losses

    def __getitem__(self, key: tuple) -> np.ndarray:
        return self._losses[key]

    def streams(self, experiment: str, *sides: tuple[str, str]) -> list[str]:
        """Those that have every one of these (arm, way)."""
        named = dict.fromkeys(stream for each, stream, *_ in self._losses if each == experiment)
        return [s for s in named if all((experiment, s, *side) in self for side in sides)]

    def difference(
        self, experiment: str, first: tuple[str, str], second: tuple[str, str], streams: Sequence[str]
    ) -> dict[str, float]:
        """How much lower the first (arm, way) is than the second: mean and interval in nats per token."""
        pairs = [[self[(experiment, stream, *side)] for side in (second, first)] for stream in streams]
        return told([np.subtract(*_same_seeds(*pair)) for pair in pairs])


def told(samples: Sequence[np.ndarray]) -> dict[str, float]:
    """Mean and interval of figures (seeds, exchanges), an array for each stream."""
    return dict(zip(("more", "low", "high"), (round(each, 4) for each in interval(samples))))


def _same_seeds(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many seeds of both; the base has one, which all are held against."""
    count = min(len(side) for side in (one, other) if len(side) > 1) if max(len(one), len(other)) > 1 else 1
    return one[:count], other[:count]


def groups(streams: Sequence[str]) -> dict[str, list[str]]:
    """All streams, and those that nothing was chosen on."""
    found = {"all": list(streams), "untouched": [stream for stream in streams if stream in UNTOUCHED]}
    return {name: some for name, some in found.items() if some}


def by_data_set(streams: Sequence[str]) -> dict[str, list[str]]:
    """The same, then each data set's."""
    found = groups(streams)
    for stream in streams:
        found.setdefault(data_set(stream), []).append(stream)
    return found


def counted(cells: Cells, experiment: str, streams: Sequence[str], way: str = "alone") -> dict[str, int]:
    exchanges = sum(cells[experiment, stream, BASE, way].shape[1] for stream in streams)
    return {"streams": len(streams), "data_sets": len(set(map(data_set, streams))), "exchanges": exchanges}


def retrieval(cells: Cells, before: dict[str, dict]) -> dict:
    """By group of streams: what retrieval by words gains over the base alone and over the adapter alone, and how much
    more each is than what retrieval by embeddings gained in version 0.2, the cells of the selection benchmark."""
    streams = [
        s for s in cells.streams("kept", *((arm, way) for arm in (BASE, DEFAULT) for way in WAYS)) if s in before
    ]
    found = {}
    for name, some in by_data_set(streams).items():
        part = counted(cells, "kept", some)
        part["adapter"] = cells.difference("kept", (DEFAULT, "alone"), (BASE, "alone"), some)
        for arm, alone, behind in ((BASE, "base", "retrieval"), (DEFAULT, "adapted", "retrieval_adapted")):
            gains = [cells[("kept", s, arm, "alone")] - cells[("kept", s, arm, "words")] for s in some]
            earlier = [np.subtract([before[s][alone]], [before[s][behind]]) for s in some]
            more = [mean[None] - one for mean, one in zip([gain.mean(axis=0) for gain in gains], earlier)]
            part[arm] = {"gain": told(gains), "than embeddings": told(more)}
        found[name] = part
    return found


def against_default(cells: Cells, arms: Iterable[str], ways: Sequence[str]) -> dict:
    """By group of streams and arm: how much more it gains than the product as it comes, by each way."""
    found: dict[str, dict] = {}
    for arm in arms:
        sides = [(one, way) for one in (arm, DEFAULT) for way in ways]
        for name, streams in groups(cells.streams("kept", *sides)).items():
            found.setdefault(name, {})[arm] = counted(cells, "kept", streams) | {
                way: cells.difference("kept", (arm, way), (DEFAULT, way), streams) for way in ways
            }
    return found


def ways_to_answer(cells: Cells, experiment: str, arms: Iterable[str], typed: str) -> dict:
    """By group of streams and arm: the gain over the base, and how much more that is than by the arm `typed`."""
    found: dict[str, dict] = {}
    for arm in arms:
        sides = [(one, "alone") for one in (arm, typed)]
        for name, streams in by_data_set(cells.streams(experiment, *sides)).items():
            found.setdefault(name, {})[arm] = counted(cells, experiment, streams) | {
                "gain": cells.difference(experiment, (arm, "alone"), (BASE, "alone"), streams),
                "than typed": cells.difference(experiment, (arm, "alone"), (typed, "alone"), streams),
            }
    return found


def forms(cells: Cells) -> dict:
    """As `against_default`, and each form's parameters; what the default form gains over the base."""
    arms = [f"form: {form}" for form in FORMS]
    found = against_default(cells, arms, ("alone",))
    sizes = {arm.removeprefix("form: "): size for arm, size in cells.parameters.items() if arm in (DEFAULT, *arms)}
    streams = cells.streams("kept", (BASE, "alone"), (DEFAULT, "alone"))
    gain = cells.difference("kept", (DEFAULT, "alone"), (BASE, "alone"), streams) if streams else {}
    return {"parameters": sizes, "gain": gain, "groups": found}


def product(cells: Cells) -> dict:
    """How far the held-out losses of adapters that the product's own trainer made are from those here, by stream: with
    its products as they come (int8), and in float32."""
    found: dict[str, dict] = {}
    for name, arm in (("as it comes", DEFAULT), ("float32", f"{DEFAULT}, float32")):
        streams = cells.streams("product", (arm, "alone"))
        theirs = [cells["product", stream, arm, "alone"][0].mean() for stream in streams]
        apart = np.subtract(theirs, [cells["kept", stream, DEFAULT, "alone"][0].mean() for stream in streams])
        if streams:
            largest = round(float(np.abs(apart).max()), 4)
            found[name] = {"streams": len(streams), "mean": round(float(apart.mean()), 4), "largest": largest}
    return found


def figures(lines: list[dict], before: dict[str, dict]) -> dict:
    """By model everything above; `before`: the selection benchmark's cell of each stream."""
    by_model: dict[str, list[dict]] = defaultdict(list)
    for line in lines:
        by_model[line["model"]].append(line)
    found = {}
    for model, some in by_model.items():
        cells = Cells(some)
        shares = [f"share {share:g}, {tokens} tokens" for share, tokens in SHARES]
        found[model] = {
            "adapters": sum(line["arm"] != BASE and line["experiment"] != "product" for line in some),
            "product": product(cells),
            "retrieval": retrieval(cells, before),
            "few_shot": against_default(cells, shares, ("alone", "words")),
            "forms": forms(cells),
            "taps": ways_to_answer(cells, "taps", ARMS, "32 typed"),
            "thumbs": ways_to_answer(cells, "thumbs", THUMBS, "16 typed"),
        }
    return found
