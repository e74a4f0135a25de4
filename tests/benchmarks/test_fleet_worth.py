"""The table of make bench-fleet: pairs of users, from a fleet and from nothing."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: make test-fleet, or pip install 'idletune[fleet]'")
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from fleet_worth import FleetCell, UserCell, plan, table  # noqa: E402


def user(number, held_out, fleet=None, own=8):
    return {
        "kind": "user",
        "dataset": "irc",
        "user": number,
        "own": own,
        "seed": 0,
        "fleet": fleet,
        "held_out": held_out,
    }


def test_only_users_measured_both_ways_are_compared():
    cells = [user(0, 4.0), user(1, 5.0), user(0, 3.8, "f"), user(1, 4.9, "f"), user(2, 1.0, "f"), user(0, 9.0, own=32)]
    (row,) = table([*cells, {"kind": "fleet"}])
    assert row["users"] == 2 and row["difference"] == pytest.approx(-0.15)
    assert (row["from_fleet"], row["from_nothing"]) == (4.35, 4.5)


def test_each_fleet_is_planned_before_its_users_and_no_cell_twice():
    seen = set()
    for cell in plan(("ubuntu_irc", "persona_chat")):
        assert cell.key not in seen or isinstance(cell, FleetCell)
        if isinstance(cell, UserCell) and cell.fleet:
            assert cell.fleet.key in seen
        seen.add(cell.key)


def test_replies_of_a_shorter_fleet_serve_a_longer_one_without_noise_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("fleet_worth.ADAPTERS", tmp_path)
    assert FleetCell("irc", 8, rounds=1).folder == FleetCell("irc", 8).folder
    assert FleetCell("irc", 8, 8.0, rounds=1).folder != FleetCell("irc", 8, 8.0).folder
