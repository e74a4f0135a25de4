"""What the cells come to: gains over the untouched base with paired bootstrap intervals, a table and a picture."""

from collections import defaultdict
from pathlib import Path

import numpy as np

RESAMPLES, INTERVAL = 2000, (2.5, 97.5)
NAMES = {"all_three": "ours (all three)", "eoe": "EOE only", "dss": "DSS only", "idd": "IDD only"}


def label(cell: dict) -> str:
    """The row a cell belongs to."""
    name = NAMES.get(cell["policy"], cell["policy"].replace("_", " "))
    reading = ", histogram EOE" if cell["eoe_reading"] == "histogram" else ""
    return name + reading + (f", {cell['paraphrases']} paraphrases" if cell["paraphrases"] else "")


def gains(cells: list[dict], of: str = "adapted") -> np.ndarray:
    """How far the loss fell below the base's, nats per token: (cells, held-out exchanges) as one row each."""
    return np.array([np.subtract(cell["base"], cell[of]) for cell in cells])


def interval(samples: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean of (seeds, exchanges) and its 95 % bootstrap interval, both axes resampled (percentile method)."""
    rng = np.random.default_rng(seed)
    rows, columns = samples.shape
    means = [
        samples[np.ix_(rng.integers(rows, size=rows), rng.integers(columns, size=columns))].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(means, INTERVAL)
    return float(samples.mean()), float(low), float(high)


def difference(first: list[dict], second: list[dict]) -> tuple[float, float, float]:
    """The first's gain minus the second's, paired by seed and exchange."""
    by_seed = {cell["seed"]: cell for cell in second}
    pairs = [(cell, by_seed[cell["seed"]]) for cell in first if cell["seed"] in by_seed]
    return interval(gains([a for a, _ in pairs]) - gains([b for _, b in pairs]))


def summarize(cells: list[dict], against: str = "random") -> list[dict]:
    """A row for each stream, number of bins and method; `against` is what all are compared with."""
    groups = defaultdict(list)
    for cell in cells:
        groups[cell["stream"], cell["bins"], label(cell)].append(cell)
    rows = []
    for (stream, bins, name), members in groups.items():
        gain, low, high = interval(gains(members))
        row = {
            "stream": stream, "bins": bins, "method": name, "seeds": len(members), "asked": members[0]["asked"],
            "base": float(np.mean(members[0]["base"])), "gain": gain, "low": low, "high": high,
            "replaced": float(np.mean([m["replaced"] for m in members])),
            "forgetting": float(np.mean([m["probe_adapted"] / m["probe_base"] - 1 for m in members])),
        }
        peers = groups.get((stream, bins, against))
        if peers and name != against:
            row["over"], row["over_low"], row["over_high"] = difference(members, peers)
        for more in ("retrieval", "retrieval_adapted"):
            if chosen := [m for m in members if more in m]:
                row[more] = float(gains(chosen, more).mean())
        if chosen := [m for m in members if "rouge_base" in m]:
            row |= {k: float(np.mean([m["rouge_adapted"][k] for m in chosen])) for k in ("rouge1", "rougeL")}
            row["rouge1_base"] = float(np.mean([m["rouge_base"]["rouge1"] for m in chosen]))
        rows.append(row)
    return sorted(rows, key=lambda row: (row["stream"], row["bins"], -row["gain"]))


def table(rows: list[dict], against: str = "random") -> str:
    """Markdown, one line for each row."""
    lines = [
        f"| stream | bins | method | seeds | asked | loss fell by (95 %) | more than {against} (95 %) "
        "| retrieval alone | with adapter | ROUGE-1 | general loss |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        over = f"{r['over']:+.3f} ({r['over_low']:+.3f} .. {r['over_high']:+.3f})" if "over" in r else ""
        retrieval = [f"{r[name]:.3f}" if name in r else "" for name in ("retrieval", "retrieval_adapted")]
        rouge = f"{r['rouge1_base']:.3f} -> {r['rouge1']:.3f}" if "rouge1" in r else ""
        lines.append(
            f"| {r['stream'].strip('/')} | {r['bins']} | {r['method']} | {r['seeds']} | {r['asked']} "
            f"| {r['gain']:.3f} ({r['low']:.3f} .. {r['high']:.3f}) of {r['base']:.3f} | {over} "
            f"| {retrieval[0]} | {retrieval[1]} | {rouge} | {r['forgetting']:+.1%} |"
        )
    return "\n".join(lines)


def draw(rows: list[dict], path: Path) -> None:
    """The gains of each stream as points with their intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    streams = sorted({(r["stream"], r["bins"]) for r in rows})
    methods = sorted({r["method"] for r in rows})
    figure, panels = pyplot.subplots(
        1, len(streams), figsize=(2.5 + 2.2 * len(streams), 0.8 + 0.35 * len(methods)), sharey=True, squeeze=False,
        layout="constrained",
    )
    for axes, (stream, bins) in zip(panels[0], streams):
        for r in (r for r in rows if (r["stream"], r["bins"]) == (stream, bins)):
            at = methods.index(r["method"])
            axes.plot([r["low"], r["high"]], [at, at], color="tab:blue")
            axes.plot(r["gain"], at, "o", color="tab:blue")
        axes.axvline(0, color="0.7", linewidth=1)
        axes.set(title=f"{stream.strip('/')}, {bins} bins", xlabel="nats per token")
    panels[0][0].set_yticks(range(len(methods)), methods)
    figure.suptitle("held-out loss below the untouched base, 95 % intervals")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
