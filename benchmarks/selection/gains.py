"""What the cells come to: gains over the untouched base with paired bootstrap intervals."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

BASELINES = ("all_three", "random", "fifo", "k_center", "keep_first")  # the paper's rule and its peers, and the control
USUAL = "learn_questions=false"  # how others train: on the answers alone
FIFTHS = 5  # parts of a stream after which a learning curve has a point
RESAMPLES, INTERVAL = 2000, (2.5, 97.5)
SYNTHESIS = 3  # paraphrases of an answer that are held against none
NAMES = {
    "recent_diverse": "ours (recent, diverse)", "all_three": "the paper's (all three)",
    "eoe": "EOE only", "dss": "DSS only", "idd": "IDD only",
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


def difference(first: list[dict], second: list[dict], of: str = "adapted") -> tuple[float, float, float]:
    """The first's gain minus the second's, paired by seed and exchange."""
    by_seed = {cell["seed"]: cell for cell in second}
    pairs = [(cell, by_seed[cell["seed"]]) for cell in first if cell["seed"] in by_seed]
    return interval(gains([a for a, _ in pairs], of) - gains([b for _, b in pairs], of))


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


def recipes(cells: list[dict], bins: int) -> list[dict]:
    """Other settings beside the product's on what the same policy kept, for each data set the mean of all runs that
    were made with both: stream, policy and seed.

    Cells without retrieval take no part.
    """
    plain = [c for c in _plain(cells) if c["bins"] == bins]
    as_it_comes = {(c["stream"], c["policy"], c["seed"]): c for c in alike(plain, bins)}
    pairs = defaultdict(list)
    for cell in plain:
        run = cell["stream"], cell["policy"], cell["seed"]
        if cell["changed"] and cell["eoe_reading"] == "token" and run in as_it_comes:
            pairs[cell["stream"].split("/")[0], cell["changed"]].append((cell, as_it_comes[run]))
    return [
        {
            "data": data, "recipe": recipe, "runs": len(found),
            **{of: [float(np.mean([gains([c], of).mean() for c in side])) for side in zip(*found)]
               for of in ("adapted", "retrieval_adapted")},
            "forgetting": [float(np.mean([rise(c) for c in side])) for side in zip(*found)],
        }
        for (data, recipe), found in sorted(pairs.items())
    ]


def rise(cell: dict) -> float:
    """By what part the loss on general text rose."""
    return cell["probe_adapted"] / cell["probe_base"] - 1


def series(cells: list[dict], along: str, values: Sequence[int], bins: int, default: str) -> list[dict]:
    """The adapter's mean gain at each value of one of a cell's fields, `along`, and all else as it is: a row for each
    stream and policy that was run with all of the values; first seed."""
    as_it_is = {"bins": bins, "paraphrases": 0, "fifths": FIFTHS, "seed": 0, "eoe_reading": "token"}
    del as_it_is[along]
    found = defaultdict(dict)
    for cell in competing(cells, default, **as_it_is):
        found[cell["stream"], cell["policy"]][cell[along]] = float(gains([cell]).mean())
    return [
        {"stream": stream, "policy": policy, "gains": [points[value] for value in values]}
        for (stream, policy), points in sorted(found.items())
        if points.keys() >= set(values)
    ]


def summarize(cells: list[dict], against: str = "random") -> list[dict]:
    """A row for each stream, number of bins and method; `against` is what all are compared with."""
    groups = defaultdict(list)
    for cell in cells:
        groups[cell["stream"], cell["bins"], label(cell)].append(cell)
    rows = []
    for (stream, bins, name), members in groups.items():
        gain, low, high = interval(gains(members))
        row = {
            "stream": stream, "bins": bins, "method": name, "changed": members[0]["changed"],
            "paraphrases": members[0]["paraphrases"],
            "seeds": len(members), "asked": members[0]["asked"],
            "base": float(np.mean(members[0]["base"])), "gain": gain, "low": low, "high": high,
            "replaced": float(np.mean([m["replaced"] for m in members])),
            "forgetting": float(np.mean([rise(m) for m in members])),
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
        if chosen := [m for m in members if "rouge_both" in m]:
            row["rouge1_both"] = float(np.mean([m["rouge_both"]["rouge1"] for m in chosen]))
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
        _compare(name, of(name, plain), default) | _synthesis(of(name, reworded), _by_run(of(name, plain), default))
        for name in sorted({c["stream"].split("/")[0] for c in plain})
    ]


def overall(cells: list[dict], bins: int, default: str) -> list[dict]:
    """Each policy's mean gain with the usual training, over the streams that all of them were run on, a stream counting
    once; the last row is the product as it comes."""
    found = {policy: [c for c in _plain(alike(cells, bins, USUAL)) if c["policy"] == policy]
             for policy in (default, *BASELINES)}
    rows = {label_of(policy): members for policy, members in found.items()}
    rows[f"{label_of(default)}, as it comes"] = [c for c in _plain(alike(cells, bins)) if c["policy"] == default]
    streams = sorted(set.intersection(*({c["stream"] for c in members} for members in rows.values())))

    def mean(members: list[dict], of: str) -> float:
        return float(np.mean([gains([c for c in members if c["stream"] == s], of).mean() for s in streams]))

    measures = ("adapted", "retrieval", "retrieval_adapted")
    return [
        {"method": name, "streams": len(streams), **{of: mean(members, of) for of in measures}}
        for name, members in rows.items()
        if streams
    ]


def ceiling(cells: list[dict], bins: int, default: str) -> list[dict]:
    """What all exchanges answered are worth beside the product's buffer, both with adapter and retrieval and as many
    training rows, for each stream that was run so."""
    found = _plain(competing(cells, default, bins=bins, eoe_reading="token"))
    rows = []
    for stream in sorted({c["stream"] for c in found if c["policy"] == "all_data"}):
        whole, ours = ([c for c in found if (c["stream"], c["policy"]) == (stream, p)] for p in ("all_data", default))
        if {c["seed"] for c in whole} & {c["seed"] for c in ours}:
            more, low, high = difference(whole, ours, "retrieval_adapted")
            rows.append({"stream": stream, "asked": whole[0]["asked"], "more": more, "low": low, "high": high})
    return rows


def _plain(cells: list[dict]) -> list[dict]:
    """Those with retrieval and without paraphrases."""
    return [c for c in cells if not c["paraphrases"] and "retrieval_adapted" in c]


def _synthesis(reworded: list[dict], plain: dict[tuple[str, int], dict]) -> dict:
    """What paraphrases add to the adapter's gain, over the runs that were made with and without; {} for none."""
    pairs = [(c, plain[c["stream"], c["seed"]]) for c in reworded if (c["stream"], c["seed"]) in plain]
    if not pairs:
        return {}
    more = _pooled([c for c, _ in pairs], "adapted") - _pooled([c for _, c in pairs], "adapted")
    return dict(zip(("synthesis", "synthesis_low", "synthesis_high"), interval(more[None])))


def _compare(name: str, cells: list[dict], default: str) -> dict:
    by_policy = {policy: _by_run(cells, policy) for policy in (default, *BASELINES)}
    runs = sorted(set.intersection(*(set(found) for found in by_policy.values() if found)))
    chosen = {policy: [found[run] for run in runs] for policy, found in by_policy.items() if found}
    baselines = [policy for policy in chosen if policy != default]
    best, equipped = (
        max(baselines, key=lambda policy: _pooled(chosen[policy], of).mean()) for of in ("adapted", "retrieval_adapted")
    )
    ours, other = _pooled(chosen[default], "retrieval_adapted"), _pooled(chosen[best], "adapted")
    more, low, high = interval((ours - other)[None])
    same, same_low, same_high = interval((ours - _pooled(chosen[equipped], "retrieval_adapted"))[None])
    base = {c["stream"]: c["base"] for c in chosen[default]}
    return {
        "data": name, "users": len(base), "runs": len(runs), "best": best,
        "base": float(np.concatenate([*base.values()]).mean()),
        "best_gain": float(other.mean()), "adapter": float(_pooled(chosen[default], "adapted").mean()),
        "retrieval": float(_pooled(chosen[default], "retrieval").mean()), "ours": float(ours.mean()),
        "more": more, "low": low, "high": high, "same": same, "same_low": same_low, "same_high": same_high,
        "forgetting": float(np.mean([rise(c) for c in chosen[default]])),
    }


def _by_run(cells: list[dict], policy: str) -> dict[tuple[str, int], dict]:
    return {(c["stream"], c["seed"]): c for c in cells if c["policy"] == policy}


def _pooled(cells: list[dict], of: str) -> np.ndarray:
    """The gain at each held-out exchange of all users, one vector; an exchange's is the mean of its seeds."""
    streams = sorted({c["stream"] for c in cells})
    return np.concatenate([gains([c for c in cells if c["stream"] == s], of).mean(axis=0) for s in streams])
