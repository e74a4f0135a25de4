"""The page of the selection benchmark, from cells of known gains; the file of the cells."""

import json
import sys
from pathlib import Path

import pytest
from made_cells import cell

from benchmarks.selection.report import figures, page, pictures

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import selection_quality  # noqa: E402


@pytest.mark.slow
def test_the_page_tells_what_there_are_cells_for(tmp_path):
    both = [cell(policy, 0.3, 0.1) for policy in ("recent_diverse", "random")]
    found = figures(both)
    assert "fifths of the stream" not in page(found) and "Other settings" not in page(found)
    assert "no setting was chosen on" not in page(found)
    followed = [{**cell("random", 0.1 * n), "fifths": n} for n in range(1, 5)]
    found = figures([*both, *followed, {**cell("recent_diverse", 0.4, 0.1), "changed": "rank=8"}])
    assert "fifths of the stream" in page(found) and "| dolly | rank=8 |" in page(found)
    fresh = [cell(policy, 0.3, 0.1, "dolly/+200") for policy in ("recent_diverse", "random")]
    found = figures([*both, *followed, *fresh])
    assert [row["runs"] for row in (*found["compared"], *found["fresh_compared"])] == [1, 1]
    assert "no setting was chosen on" in page(found)
    assert "| 32 | 4 | 7,580 | 12 |" in page(found)
    pictures(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "selection.png",
        "selection-compared.png",
        "selection-fifths.png",
    }


@pytest.mark.slow
def test_rouge_of_the_base_the_adapter_and_both():
    scores = {"rouge_base": 0.1, "rouge_adapted": 0.2, "rouge_both": 0.3}
    written = {name: {"rouge1": score, "rougeL": score / 2} for name, score in scores.items()}
    told = page(figures([cell("random", 0.3), {**cell("recent_diverse", 0.3), **written}]))
    assert "| 0.100 -> 0.200, 0.300 with retrieval | 0.050 -> 0.100, 0.150 with retrieval |" in told


def test_a_line_that_a_kill_has_cut_costs_its_cell_alone(tmp_path, monkeypatch):
    file = tmp_path / "cells.jsonl"
    monkeypatch.setattr(selection_quality, "CELLS", file)
    file.write_text('{"key": "first"}\n{"key": "cut", "losses": {"a": 1}')
    for _ in range(2):
        selection_quality.end_last_line(file)
    with open(file, "a") as out:
        out.write(json.dumps({"key": "next"}) + "\n")
    assert [*selection_quality.done_cells()] == ["first", "next"]
