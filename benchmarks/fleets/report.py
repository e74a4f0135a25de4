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
    users: dict[int, list[dict[str, float]]] = {}
    for fleet, user, alone in members:
        users.setdefault(user["user"], []).append(_outcome(fleet, user, alone, probe))
    cells = [one for each in users.values() for one in each]
    row = {**named, "users": len(users), "cells": len(cells)}
    for name in ("from_nothing", "as_it_is", "trained", "gated", "taken"):
        if all(name in one for one in cells):
            of_users = [np.array([one[name] for one in each]) for each in users.values()]
            row[name] = np.mean([values.mean() for values in of_users])
            if name in ("as_it_is", "trained", "gated"):
                less = [np.array([[one[name] - one["from_nothing"]] for one in each]) for each in users.values()]
                row |= dict(zip((f"{name}_less", f"{name}_low", f"{name}_high"), interval(less)))
    row["probe_rise"] = np.mean([fleet["probe"] / probe - 1 for fleet, _, _ in members])
    if all("hostile" in one for _, *both in members for one in both):
        row["hostile"] = np.mean([user["hostile"] - alone["hostile"] for _, user, alone in members])
    return {name: round(float(value), 4) if isinstance(value, float) else value for name, value in row.items()}


def _outcome(fleet: dict, user: dict, alone: dict, probe: float) -> dict[str, float]:
    """Held-out loss of a user who trains from nothing, with the fleet's adapter as it is, trained from it on the own
    answers, and with what the gates leave: that of taking it, and that of what is trained."""
    nothing, taken = alone.get("held_out", alone["started"]), is_taken(fleet, user, alone, probe)
    found = {"from_nothing": nothing, "as_it_is": user["started"], "taken": float(taken)}
    if not user["own"]:
        return {**found, "gated": user["started"] if taken else nothing}
    found["trained"] = user["held_out"]
    if "judged_after" in user:
        better = user["held_out"] if user["judged_after"] < user["judged"] else user["started"]
        found["gated"] = better if taken else nothing
    return found


def draw(rows: list[dict], path: Path) -> None:
    """The difference that a fleet without noise makes, by rounds: a panel for each data set and number of own answers;
    dashed where the fleet's adapter stays as it is."""
    shown = sorted(filter(is_plain, rows), key=lambda row: (row["phones"], row["round"]))
    datasets, owns = sorted({row["dataset"] for row in shown}), sorted({row["own"] for row in shown})
    kinds = list(dict.fromkeys(map(fleet_told, shown)))  # one color each in all panels
    title = "held-out loss less that from nothing, nats per token (below 0: the fleet helps; dashed: not trained on)"
    with panels(path, title, len(datasets), len(owns), figsize=(5 * len(owns), 3.2 * len(datasets))) as grid:
        for axes, (dataset, own) in zip(grid.flat, [(d, o) for d in datasets for o in owns]):
            here = [row for row in shown if (row["dataset"], row["own"]) == (dataset, own)]
            rounds = sorted({row["round"] for row in here})
            for number, told in enumerate(dict.fromkeys(map(fleet_told, here))):
                line = [row for row in here if fleet_told(row) == told]
                places = [rounds.index(row["round"]) + 0.05 * number for row in line]
                _draw_line(axes, line, places, f"C{kinds.index(told)}", told)
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set(title=f"{dataset}, {own} own answers", xlabel="rounds")
            axes.set_xticks(range(len(rounds)), rounds)


def _draw_line(axes, line: list[dict], places: list[float], color: str, told: str) -> None:
    for name, style in (("as_it_is", "o--"), ("trained", "o-")):
        if f"{name}_less" in line[0]:
            label = told if name == "as_it_is" else None
            axes.plot(places, [row[f"{name}_less"] for row in line], style, color=color, markersize=3, label=label)
            axes.vlines(places, *([row[f"{name}_{end}"] for row in line] for end in ("low", "high")), color, alpha=0.4)


def is_plain(row: dict) -> bool:
    """Of a fleet without noise and poison, in the form and with the training that the benchmark has as it comes."""
    usual = {"epsilon": 0.0, "form": "whole", "clip": 5.0, "poison": ""}
    usual |= {"learning_rate": 1.6e-3, "epochs": 1}
    return all(row[name] == value for name, value in usual.items())


def is_private(row: dict) -> bool:
    """With noise, or in the form that stands it."""
    return bool(row["epsilon"] or row["form"] != "whole") and not row["poison"]


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
    if row["learning_rate"] != (0.3 if row["form"] == "small" else 1.6e-3):
        parts.append(f"learning rate {row['learning_rate']:g}")
    if row["epochs"] != 1:
        parts.append(f"{row['epochs']} epochs a round")
    return ", ".join(parts)
