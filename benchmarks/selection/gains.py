"""What the cells come to: gains over the untouched base with paired bootstrap intervals."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

BASELINES = ("all_three", "random", "fifo", "k_center", "keep_first")  # the paper's rule and its peers, and the control
USUAL = "train_on_questions=false"  # how others train: on the answers alone
FIFTHS = 5  # parts of a stream after which a learning curve has a point
RESAMPLES, INTERVAL = 2000, (2.5, 97.5)
SYNTHESIS = 3  # paraphrases of an answer that are held against none
NAMES = {
    "recent_diverse": "ours (recent, diverse)",
    "all_three": "the paper's (all three)",
    "eoe": "EOE only",
    "dss": "DSS only",
    "idd": "IDD only",
}


def label_of(policy: str) -> str:
    """A policy's name for people."""
    return NAMES.get(policy, policy.replace("_", " "))


def label(cell: dict) -> str:
    """The row a cell belongs to; a policy's bare name stands for the usual training."""
    reading = ", histogram EOE" if cell["eoe_reading"] == "histogram" else ""
    changed = "" if cell["changed"] == USUAL else f", {cell['changed'] or 'as it comes'}"
    paraphrases = f", but {cell['paraphrases']} paraphrases" if cell["paraphrases"] else ""
    return label_of(cell["policy"]) + reading + changed + paraphrases


def gains(cells: list[dict], of: str = "adapted") -> np.ndarray:
    """How far the loss fell below the base's, nats per token: (cells, held-out exchanges) as one row each."""
    return np.array([np.subtract(cell["base"], cell[of]) for cell in cells])


def interval(samples: Sequence[np.ndarray], seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval (percentile method) of figures (seeds, exchanges), an array for each stream.

    Streams, and within each its seeds and its exchanges, are drawn anew; exchanges of all streams weigh alike.
    """
    rng = np.random.default_rng(seed)

    def drawn(stream: np.ndarray) -> np.ndarray:
        rows, columns = (rng.integers(size, size=size) for size in stream.shape)
        return stream[np.ix_(rows, columns)].mean(axis=0)

    streams = [rng.integers(len(samples), size=len(samples)) for _ in range(RESAMPLES)]
    means = [np.concatenate([drawn(samples[i]) for i in chosen]).mean() for chosen in streams]
    low, high = np.percentile(means, INTERVAL)
    return float(pooled(samples)), float(low), float(high)


def pooled(samples: Sequence[np.ndarray]) -> float:
    """Mean over the exchanges of all streams, each exchange the mean of its stream's seeds."""
    return float(np.concatenate([stream.mean(axis=0) for stream in samples]).mean())


def by_stream(cells: list[dict], of: str = "adapted") -> list[np.ndarray]:
    """Gains (seeds, exchanges) for each stream."""
    found = defaultdict(list)
    for cell in cells:
        found[cell["stream"]].append(cell)
    return [gains(members, of) for members in found.values()]


def differences(
    first: list[dict], second: list[dict], of: str = "adapted", second_of: str | None = None
) -> list[np.ndarray]:
    """The first's gains minus the second's (seeds, exchanges) for each stream, over the runs that both have."""
    known, found = {run(cell): cell for cell in second}, defaultdict(list)
    for cell in first:
        if run(cell) in known:
            more = gains([cell], of) - gains([known[run(cell)]], second_of or of)
            found[cell["stream"]].append(more[0])
    return [np.array(rows) for rows in found.values()]


def run(cell: dict) -> tuple[str, int]:
    """What cells are paired by: stream and seed."""
    return cell["stream"], cell["seed"]


def whole(cells: list[dict]) -> list[dict]:
    """Those that saw all of their stream."""
    return [cell for cell in cells if cell["fifths"] == FIFTHS]


def alike(cells: list[dict], bins: int, changed: str = "") -> list[dict]:
    """Those with so many bins and these changed settings, and all else as the product has it."""
    return [c for c in cells if (c["bins"], c["eoe_reading"], c["changed"]) == (bins, "token", changed)]


def competing(cells: list[dict], default: str, **fields) -> list[dict]:
    """The product as it comes, and other policies with the usual training, with these values of a cell's fields."""
    methods = [(c, "" if c["policy"] == default else USUAL) for c in cells]
    return [c for c, method in methods if c["changed"] == method and all(c[k] == v for k, v in fields.items())]


def recipes(cells: list[dict], bins: int, default: str) -> list[dict]:
    """Other settings beside the product's on what its policy kept, for each data set over all runs that were made with
    both. Cells without retrieval take no part.
    """
    plain = [c for c in _plain(cells) if (c["bins"], c["eoe_reading"], c["policy"]) == (bins, "token", default)]
    as_it_comes, changed = alike(plain, bins), defaultdict(list)
    runs = {run(c) for c in as_it_comes}
    for cell in plain:
        if cell["changed"] and run(cell) in runs:
            changed[cell["stream"].split("/")[0], cell["changed"]].append(cell)
    return [
        {
            "data": data,
            "recipe": recipe,
            "runs": len(found),
            **{
                of: dict(zip(("more", "low", "high"), interval(differences(found, as_it_comes, of))))
                for of in ("adapted", "retrieval_adapted")
            },
            "forgetting": [
                float(np.mean([rise(c) for c in side]))
                for side in (found, [c for c in as_it_comes if run(c) in set(map(run, found))])
            ],
        }
        for (data, recipe), found in sorted(changed.items())
    ]


def rise(cell: dict) -> float:
    """By what part the loss on general text rose."""
    return cell["probe_adapted"] / cell["probe_base"] - 1


def series(cells: list[dict], along: str, values: Sequence[int], bins: int, default: str) -> list[dict]:
    """The adapter's mean gain at each value of one of a cell's fields, `along`, and all else as it is: a row for each
    stream and method that was run with all of the values; first seed."""
    as_it_is = {"bins": bins, "paraphrases": 0, "fifths": FIFTHS, "seed": 0, "eoe_reading": "token"}
    del as_it_is[along]
    found = defaultdict(dict)
    for cell in competing(cells, default, **as_it_is):
        method = label({**cell, "paraphrases": 0})
        found[cell["stream"], method][cell[along]] = float(gains([cell]).mean())
    return [
        {"stream": stream, "method": method, "gains": [points[value] for value in values]}
        for (stream, method), points in sorted(found.items())
        if points.keys() >= set(values)
    ]


def summarize(cells: list[dict], against: str = "random") -> list[dict]:
    """A row for each stream, number of bins and method; `against` is what all are compared with."""
    groups = defaultdict(list)
    for cell in cells:
        groups[cell["stream"], cell["bins"], label(cell)].append(cell)
    rows = []
    for (stream, bins, name), members in groups.items():
        gain, low, high = interval([gains(members)])
        row = {
            "stream": stream,
            "bins": bins,
            "method": name,
            "changed": members[0]["changed"],
            "paraphrases": members[0]["paraphrases"],
            "seeds": len(members),
            "asked": members[0]["asked"],
            "base": float(np.mean(members[0]["base"])),
            "gain": gain,
            "low": low,
            "high": high,
            **{of: float(np.mean([m[of] for m in members])) for of in ("replaced", "tokens", "training_seconds")},
            "forgetting": float(np.mean([rise(m) for m in members])),
        }
        peers = groups.get((stream, bins, against))
        if peers and name != against:
            if both := differences(members, peers):
                row["over"], row["over_low"], row["over_high"] = interval(both)
        if chosen := [m for m in members if "retrieval" in m]:
            row["retrieval"] = float(gains(chosen, "retrieval").mean())
            row["both"], row["both_low"], row["both_high"] = interval([gains(chosen, "retrieval_adapted")])
        if chosen := [m for m in members if "rouge_base" in m]:
            row |= {k: float(np.mean([m["rouge_adapted"][k] for m in chosen])) for k in ("rouge1", "rougeL")}
            row |= {f"{k}_base": float(np.mean([m["rouge_base"][k] for m in chosen])) for k in ("rouge1", "rougeL")}
        if chosen := [m for m in members if "rouge_both" in m]:
            row |= {f"{k}_both": float(np.mean([m["rouge_both"][k] for m in chosen])) for k in ("rouge1", "rougeL")}
        rows.append(row)
    return sorted(rows, key=lambda row: (row["stream"], row["bins"], -row["gain"]))


def compare(cells: list[dict], bins: int, default: str) -> list[dict]:
    """For each data set: the product as it comes (`default` policy, adapter and retrieval) beside its baselines.

    A baseline is an adapter trained in the usual way on what another policy kept, as the paper has them; the best one
    by its mean gain counts. The best baseline with our retrieval shows what policy and training are worth; where there
    are runs with SYNTHESIS paraphrases, their adapter is held against the one without, after as many steps.
    """
    asked = competing(cells, default, bins=bins, eoe_reading="token")
    plain = _plain(asked)
    reworded = [c for c in asked if c["paraphrases"] == SYNTHESIS and c["policy"] == default]

    def of(name: str, found: list[dict]) -> list[dict]:
        return [c for c in found if c["stream"].split("/")[0] == name]

    return [
        _compare(name, of(name, plain), default)
        | _synthesis(of(name, reworded), [c for c in of(name, plain) if c["policy"] == default])
        for name in sorted({c["stream"].split("/")[0] for c in plain})
    ]


def overall(cells: list[dict], bins: int, default: str) -> list[dict]:
    """Each policy's mean gain with the usual training, over the streams that all of them were run on, a stream counting
    once; the last row is the product as it comes. `less` than the `default` policy, with an interval for which streams
    are drawn anew."""
    found = {
        policy: [c for c in _plain(alike(cells, bins, USUAL)) if c["policy"] == policy]
        for policy in (default, *BASELINES)
    }
    rows = {label_of(policy): members for policy, members in found.items()}
    rows[f"{label_of(default)}, as it comes"] = [c for c in _plain(alike(cells, bins)) if c["policy"] == default]
    streams = sorted(set.intersection(*({c["stream"] for c in members} for members in rows.values())))
    if not streams:
        return []

    def means(members: list[dict], of: str) -> np.ndarray:
        return np.array([gains([c for c in members if c["stream"] == s], of).mean() for s in streams])

    measures, told = ("adapted", "retrieval", "retrieval_adapted"), []
    for name, members in rows.items():
        row = {"method": name, "streams": len(streams), **{of: float(means(members, of).mean()) for of in measures}}
        more = means(members, "retrieval_adapted") - means(found[default], "retrieval_adapted")
        if name != label_of(default):
            row |= dict(zip(("more", "low", "high"), interval([more[None]])))
        told.append(row)
    return told


def ceiling(cells: list[dict], bins: int, default: str) -> list[dict]:
    """What all exchanges answered are worth beside the product's buffer, both with adapter and retrieval, for each
    stream that was run so: after as many training rows (the usual training), and after as many passes (as it comes).
    """
    rows = []
    for after, changed in (("as many rows", USUAL), ("as many passes", "")):
        found = _plain(alike(cells, bins, changed))
        ours = [c for c in found if c["policy"] == default]
        for stream in sorted({c["stream"] for c in found if c["policy"] == "all_data"}):
            everything = [c for c in found if (c["stream"], c["policy"]) == (stream, "all_data")]
            row = {"stream": stream, "after": after, "asked": everything[0]["asked"]}
            for of in ("adapted", "retrieval_adapted"):
                if both := differences(everything, ours, of):
                    rows += [row] if row not in rows else []
                    row[of] = dict(zip(("more", "low", "high"), interval(both)))
    return rows


def _plain(cells: list[dict]) -> list[dict]:
    """Those with retrieval and without paraphrases."""
    return [c for c in cells if not c["paraphrases"] and "retrieval_adapted" in c]


def _synthesis(reworded: list[dict], plain: list[dict]) -> dict:
    """What paraphrases add to the adapter's gain, over the runs that were made with and without; {} for none."""
    both = differences(reworded, plain)
    return dict(zip(("synthesis", "synthesis_low", "synthesis_high"), interval(both))) if both else {}


def _compare(name: str, cells: list[dict], default: str) -> dict:
    by_policy = {policy: [c for c in cells if c["policy"] == policy] for policy in (default, *BASELINES)}
    runs = set.intersection(*({run(c) for c in found} for found in by_policy.values() if found))
    chosen = {policy: [c for c in found if run(c) in runs] for policy, found in by_policy.items() if found}
    baselines, ours = [policy for policy in chosen if policy != default], chosen[default]
    best, equipped = (
        max(baselines, key=lambda policy: pooled(by_stream(chosen[policy], of)))
        for of in ("adapted", "retrieval_adapted")
    )
    more, low, high = interval(differences(ours, chosen[best], "retrieval_adapted", "adapted"))
    same, same_low, same_high = interval(differences(ours, chosen[equipped], "retrieval_adapted"))
    base = {c["stream"]: c["base"] for c in ours}
    return {
        "data": name,
        "streams": len(base),
        "runs": len(runs),
        "best": best,
        "equipped": equipped,
        "base": float(np.concatenate([*base.values()]).mean()),
        "best_gain": pooled(by_stream(chosen[best])),
        "adapter": pooled(by_stream(ours)),
        "retrieval": pooled(by_stream(ours, "retrieval")),
        "ours": pooled(by_stream(ours, "retrieval_adapted")),
        "more": more,
        "low": low,
        "high": high,
        "same": same,
        "same_low": same_low,
        "same_high": same_high,
        "forgetting": float(np.mean([rise(c) for c in ours])),
    }
