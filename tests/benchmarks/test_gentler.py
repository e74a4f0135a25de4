"""Answers trained at a lower rate and in fewer rows are held against the same answers as they come."""

import json
import sys
from pathlib import Path

import pytest
from idletune.settings import Settings

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from common import done_lines  # noqa: E402
from learning import gentler  # noqa: E402
from learning.lines import Lines  # noqa: E402

STREAM, OTHER = "dolly/", "dolly/+400"
SLOWER, SHORTER = gentler.ARMS
LOSSES = {"base": 4.0, "answers": 3.0, SLOWER: 2.875, SHORTER: 3.25}


def line(arm: str, loss: float, stream: str = STREAM) -> dict:
    told = {"model": "tiny", "experiment": "paraphrases", "stream": stream, "arm": arm, "seed": 0}
    return {**told, "losses": {"alone": [loss, loss]}}


def test_each_arm_is_held_against_the_answers_as_they_come():
    """On the streams that have both."""
    unfinished = [line("base", 4.0, OTHER), line("answers", 3.0, OTHER), line(SLOWER, 2.875, OTHER)]
    found = gentler.figures([line(arm, loss) for arm, loss in LOSSES.items()] + unfinished)["tiny"]
    assert {arm: groups["all"]["more"] for arm, groups in found.items()} == {SLOWER: 0.125, SHORTER: -0.25}
    assert [found[arm]["all"]["streams"] for arm in (SLOWER, SHORTER)] == [2, 1]
    assert found[SLOWER]["untouched"]["exchanges"] == 2 and "untouched" not in found[SHORTER]


@pytest.mark.slow
def test_arms_train_at_their_share_of_the_rate_and_of_the_rows(tiny_path, tmp_path):
    """Each arm once; what is measured is not measured again."""
    pairs = [{"question": f"what is {i} of {i}?", "response": f"it is number {i}"} for i in range(10)]
    (tmp_path / "dolly.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    for _ in range(2):
        lines = Lines(tmp_path / "cells.jsonl", tiny_path.stem, "CPU")
        gentler.Gentler(tiny_path, tmp_path, lines, threads=1).run(1, 1e9, [STREAM])
    base, *found = done_lines(lines.path)
    rate, rows = Settings().learning_rate / 2, Settings().min_steps
    assert base["arm"] == "base" and [(line["arm"], line["learning_rate"], line["rows"]) for line in found] == [
        ("answers", rate, rows), (SLOWER, rate / 2, rows), (SHORTER, rate, round(rows * 2 / 3)),
    ]  # fmt: skip
    assert len({str(line["losses"]) for line in (base, *found)}) == 4
