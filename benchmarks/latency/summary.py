"""Statistics of the samples, and which results may be held against each other."""

import math
from statistics import median

from idletune.errors import UsageError

FEWEST = 20  # samples a figure of a physical machine rests on
RATES = ("tokens/s", "x")  # units of which more is better


def summarize(values: list[float], unit: str) -> dict:
    """Number, median, median absolute deviation, and `p90`: what nine of ten samples are no worse than (the 90th
    percentile of times, the 10th of RATES, nearest rank). UsageError without samples."""
    if not values:
        raise UsageError("0 samples of a measure; give at least one repeat")
    middle, ranked = median(values), sorted(values, reverse=unit in RATES)
    return {
        "n": len(values),
        "median": round(middle, 4),
        "p90": round(ranked[math.ceil(0.9 * len(ranked)) - 1], 4),
        "mad": round(median(abs(value - middle) for value in values), 4),
    }


def compare(first: dict, second: dict) -> dict[str, float]:
    """How many times the second's medians are the first's; UsageError for an emulated beside a physical machine."""
    kinds = ["emulated" if result["emulated"] else "physical" for result in (first, second)]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{first['target']} is {kinds[0]} and {second['target']} is {kinds[1]}: emulated times say nothing of "
            "physical ones, and are not compared; compare two of a kind"
        )
    if first["model"] != second["model"]:
        raise UsageError(f"{first['model']} and {second['model']} are two models; compare runs of one")
    shared = [name for name in first["measures"] if name in second["measures"]]
    return {name: second["measures"][name]["median"] / first["measures"][name]["median"] for name in shared}
