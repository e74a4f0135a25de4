"""What the cells come to: from the fleet beside from nothing, over users outside, with intervals; and the picture."""

from pathlib import Path

import numpy as np
from idletune.settings import Settings
from selection.gains import interval
from selection.pictures import panels

FORM = ("dataset", "phones", "round", "epsilon", "of_average", "form", "clip", "poison", "median", "learning_rate")
FORM += ("epochs",)
TOLERANCE = Settings().probe_tolerance


def table(records: list[dict]) -> list[dict]:
    """A row for each kind of fleet, round and number of own answers, over its users and seeds."""
    found = {(record["key"], record.get("round", 0)): record for record in records}
    probe = next((record["probe"] for record in records if record["kind"] == "base"), np.inf)
    groups: dict[tuple, list[tuple[dict, dict, dict]]] = {}
    for record in records:
        if record["kind"] != "user" or not record["fleet"]:
            continue
        fleet, alone = found.get((record["fleet"], record["round"])), found.get((nothing_key(record), 0))
        if fleet and alone:
            group = (*(fleet[name] for name in FORM[:2]), record["round"], *(fleet[name] for name in FORM[3:]))
            groups.setdefault((*group, record["own"]), []).append((fleet, record, alone))
    return [_row(dict(zip((*FORM, "own"), group)), members, probe) for group, members in groups.items()]


def nothing_key(record: dict) -> str:
    """The key of the same user without a fleet."""
    return f"{record['dataset']}|{record['user']}|{record['own']}|{record['seed']}|nothing"


def is_taken(fleet: dict, user: dict, alone: dict, probe: float) -> bool:
    """Whether the user's gate takes the fleet's adapter: general text keeps its loss, the user's own answers gain."""
    keeps = fleet["probe"] <= probe * (1 + TOLERANCE)
    return keeps and ("judged" not in user or user["judged"] < alone["judged"])


def _row(named: dict, members: list[tuple[dict, dict, dict]], probe: float) -> dict:
    by_user: dict[int, list[tuple[float, float, bool]]] = {}
    for fleet, user, alone in members:
        pair = [one.get("held_out", one["started"]) for one in (user, alone)]
        by_user.setdefault(user["user"], []).append((*pair, is_taken(fleet, user, alone, probe)))
    users = [np.array(pairs, float) for pairs in by_user.values()]  # (seeds, 3): from the fleet, from nothing, taken
    row = {**named, "users": len(users), "cells": sum(map(len, users))}
    row |= dict(zip(("from_fleet", "from_nothing", "taken"), np.mean([one.mean(axis=0) for one in users], axis=0)))
    for name, gate in (("difference", np.ones_like), ("as_gated", lambda taken: taken)):
        found = interval([((one[:, 0] - one[:, 1]) * gate(one[:, 2]))[:, None] for one in users])
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), found))
    row["probe_rise"] = np.mean([fleet["probe"] / probe - 1 for fleet, _, _ in members])
    if named["own"] == 0:
        row["hostile"] = np.mean([user["hostile"] - alone["hostile"] for _, user, alone in members])
    return {name: round(float(value), 4) if isinstance(value, float) else value for name, value in row.items()}


def draw(rows: list[dict], path: Path) -> None:
    """The difference that a fleet makes, by rounds: a panel for each data set and number of own answers."""
    shown = [row for row in rows if is_plain(row) or row["poison"]]
    datasets, owns = (list(dict.fromkeys(row[name] for row in shown)) for name in ("dataset", "own"))
    title = "held-out loss from the fleet less that from nothing, nats per token (below 0: the fleet helps)"
    with panels(path, title, len(datasets), len(owns), figsize=(4 * len(owns), 3.2 * len(datasets))) as grid:
        for axes, (dataset, own) in zip(grid.flat, [(d, o) for d in datasets for o in owns]):
            here = [row for row in shown if (row["dataset"], row["own"]) == (dataset, own)]
            for number, told in enumerate(dict.fromkeys(map(fleet_told, here))):
                line = sorted((row for row in here if fleet_told(row) == told), key=lambda row: row["round"])
                places = [row["round"] * 1.04**number for row in line]
                axes.plot(places, [row["difference"] for row in line], "o-", markersize=3, label=told)
                axes.vlines(places, *([row[f"difference_{end}"] for row in line] for end in ("low", "high")), alpha=0.4)
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set(title=f"{dataset}, {own} own answers", xlabel="rounds", xscale="log")
            axes.set_xticks(sorted({row["round"] for row in here}), sorted({row["round"] for row in here}))


def is_plain(row: dict) -> bool:
    """Of a fleet without noise and poison, in the form and with the training that the benchmark has as it comes."""
    usual = {"epsilon": 0.0, "form": "whole", "clip": 5.0, "poison": "", "median": True}
    usual |= {"learning_rate": 1.6e-3, "epochs": 1}
    return all(row[name] == value for name, value in usual.items())


def fleet_told(row: dict) -> str:
    """A kind of fleet for people, but for its rounds."""
    parts = [f"{row['phones']} phones"]
    if row["epsilon"]:
        parts.append(f"epsilon {row['epsilon']:g} of {'the average' if row['of_average'] else 'a phone'}")
    if row["poison"]:
        parts.append(f"one poisoned ({row['poison']})")
    if row["form"] != "whole":
        parts.append(f"{row['form']} adapter")
    parts.append(f"clipped at {row['clip']:g}{' and the median' if row['median'] else ''}")
    if row["learning_rate"] != 1.6e-3:
        parts.append(f"learning rate {row['learning_rate']:g}")
    if row["epochs"] != 1:
        parts.append(f"{row['epochs']} epochs a round")
    return ", ".join(parts)
