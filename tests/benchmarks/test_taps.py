"""The simulated user and what is made of the measurements."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import taps  # noqa: E402
from idletune.dialogue import Exchange  # noqa: E402


def test_the_user_picks_the_reply_nearer_to_the_real_response():
    exchanges = [Exchange("how much?", "a pinch of salt"), Exchange("when?", "at ten")]
    pairs = [["ten grams", "a pinch of it"], ["at noon", "then"]]
    assert taps.chosen_first(pairs, exchanges, "ROUGE-L") == [["a pinch of it", "ten grams"], ["at noon", "then"]]
    tossed = taps.chosen_first([["a", "b"]] * 40, exchanges * 20, "coin")
    assert {tuple(pair) for pair in tossed} == {("a", "b"), ("b", "a")}


def test_arms_are_compared_on_the_streams_that_both_have():
    lines = [
        {"stream": "dolly/", "arm": taps.FIRST, "base": [4.0, 4.0], "adapted": [3.0, 3.0]},
        {"stream": "dolly/", "arm": "96 taps", "base": [4.0, 4.0], "adapted": [3.5, 3.5]},
        {"stream": "medquad/", "arm": "96 taps", "base": [4.0], "adapted": [1.0]},
    ]
    found = taps.figures(lines)["96 taps"]
    assert found == {
        "streams": 1, "data_sets": 1, "exchanges": 2, "gain": 0.5, "more": -0.5, "low": -0.5, "high": -0.5,
    }  # fmt: skip


def test_the_main_arms_of_all_streams_come_first(monkeypatch, tmp_path):
    monkeypatch.setattr(taps, "LINES", tmp_path / "none.jsonl")
    found = list(taps.todo())
    assert len(found) == len(taps.STREAMS) * len(taps.ARMS) == len(set(found))
    assert {stream for stream, _ in found[: taps.MAIN * len(taps.STREAMS)]} == set(taps.STREAMS)
