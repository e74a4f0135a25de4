"""What a night costs is what its parts cost, so many times each; a slower phone takes more slices for it."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2] / "benchmarks" / name) for name in ("", "scale")]

import night  # noqa: E402

COSTS = {"ours": 2.0, "frozen_int8": 1.0, "loss": 6.0, "loss_above": 4.0, "engine": 5.0}
SIDES = {"commit": "0", **{name: {"cpu_seconds": seconds} for name, seconds in COSTS.items()}}


def test_a_night_is_the_sum_of_its_stages():
    cost = night.night(SIDES)
    # 4,800 tokens to learn and 1,200 held out, in sequences of 256; 6 sequences of general text.
    assert (cost["steps"], cost["training"], cost["frozen layers"]) == (57, 114, 19)
    assert cost["losses in the trainer"] == (5 + 6) * (6 + 4)
    assert cost["losses in llama.cpp"] == pytest.approx(1200 / 256 * 3 * 5)
    assert cost["all"] == pytest.approx(114 + 19 + 110 + 70.3125)
    assert cost["for each answer"] == pytest.approx(cost["all"] / 48)


@pytest.mark.slow
def test_a_slower_phone_takes_more_slices(monkeypatch):
    monkeypatch.setattr(night, "PHONES", 3)
    quick, slow = night.phones(SIDES).values()
    assert quick == night.phones(SIDES)["1"]
    assert (quick["learned"], slow["learned"]) == (3, 3) and quick["slices"] < slow["slices"]
    assert slow["minutes"] > 4 * 0.9 * night.night(SIDES)["all"] / night.CORES / 60
