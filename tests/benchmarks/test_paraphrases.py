"""Answers with and without their paraphrases: the arms train in equal rows, and the figures say what differs."""

import json
import sys
from pathlib import Path

import pytest
from idletune.examples import labelled_example
from idletune.model.base_model import BaseModel
from idletune.settings import Settings

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from common import done_lines, make_layers  # noqa: E402
from learning import paraphrases  # noqa: E402
from learning.lines import Lines  # noqa: E402
from learning.streams import PARAPHRASED, UNTOUCHED, data_set  # noqa: E402

STREAM, OTHER = "dolly/", "dolly/+400"


def line(arm: str, stream: str = STREAM, **found) -> dict:
    return {"model": "tiny", "experiment": "paraphrases", "stream": stream, "arm": arm, "seed": 0, **found}


def written(stream: str = STREAM) -> dict:
    return line("written", stream, asked=6, accepted=2, dropped={"copy": 3, "length": 1}, cpu_seconds=4.0, losses={})


def measured(losses: dict[str, float], stream: str = STREAM) -> list[dict]:
    rows = {"answers": 24, "both, rows of answers": 24, "both": 40, "answers, rows of both": 40}
    told = {arm: {"rows": n, "cpu_seconds": n / 2} for arm, n in rows.items()}
    return [line(arm, stream, losses={"alone": [loss, loss]}, **told.get(arm, {})) for arm, loss in losses.items()]


LOSSES = {"base": 4.0, "answers": 3.0, "both, rows of answers": 3.25, "both": 2.875, "answers, rows of both": 2.75}


def test_half_of_the_streams_had_no_part_in_any_choice():
    untouched = [stream for stream in PARAPHRASED if stream in UNTOUCHED]
    assert {data_set(stream) for stream in untouched} == {data_set(stream) for stream in PARAPHRASED}
    assert 2 * len(untouched) == len(PARAPHRASED) == len(set(PARAPHRASED))


def test_paraphrases_are_held_against_answers_in_as_many_rows():
    found = paraphrases.figures([written(), *measured(LOSSES)])["tiny"]["all"]
    assert found["gain"]["more"] == 1.0
    assert {name: part["more"] for name, part in found["more"].items()} == {
        "as it comes": 0.125, "rows of answers": -0.25, "rows of both": -0.125,
    }  # fmt: skip
    assert found["rows"] == {"answers": 24.0, "both": 40.0}
    assert found["cpu_seconds"] == {"answers": 12.0, "both": 20.0, "written": 4.0}


def test_a_stream_without_all_arms_is_left_out():
    unfinished = [written(OTHER), *measured({"base": 4.0, "answers": 3.5}, OTHER)]
    found = paraphrases.figures([written(), *measured(LOSSES), *unfinished])["tiny"]
    assert found["all"]["streams"] == 1 and "untouched" not in found
    assert found["all"]["written"] == {"asked": 6, "accepted": 2, "dropped": {"copy": 3, "length": 1}}


@pytest.fixture
def texts(tmp_path):
    """Folder of a data set of ten exchanges, of which two are held out."""
    pairs = [{"question": f"what is {i} of {i}?", "response": f"it is number {i}"} for i in range(10)]
    (tmp_path / "dolly.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    return tmp_path


@pytest.mark.slow
def test_paraphrases_train_beside_the_answers_without_their_wording(tiny_path, texts):
    with BaseModel(tiny_path, context_tokens=512, threads=1) as model:
        reworded = [["which is it?", "what was it?"], *[[] for _ in range(7)]]
        answered = paraphrases.Answered(model, STREAM, texts, reworded)
    assert (len(answered.answers), len(answered.both), len(answered.held_out)) == (8, 10, 2)
    learned = [int((e.labels >= 0).sum()) for e in answered.both]
    assert min(learned[:8]) > max(learned[8:])  # the user's own questions are learned, too
    arms = {name: (len(examples), rows) for name, examples, rows in answered.arms(Settings(min_steps=1))}
    few, many = arms["answers"][1], arms["both"][1]
    assert few <= many and arms == {
        "answers": (8, few), "both, rows of answers": (10, few), "both": (10, many), "answers, rows of both": (8, many),
    }  # fmt: skip


@pytest.mark.slow
def test_training_takes_so_many_rows(tiny_path):
    settings = Settings(rank=4, top_share=1.0, threads=1)
    layers, _ = make_layers(tiny_path, 256, 500, 1, settings)
    examples = [labelled_example([1, 2 + i, 3], start=1) for i in range(3)]
    held_out, losses = paraphrases.HeldOut(layers, examples), []
    for rows in (1, 6, 6):
        paraphrases.train(layers, examples, settings, rows)
        losses.append(held_out.losses())
    assert losses[0] != losses[1] == losses[2]
    with layers.lora.disabled():
        assert sum(held_out.losses()) > sum(losses[1])


@pytest.mark.slow
def test_what_is_measured_is_not_measured_again(tiny_path, texts, tmp_path):
    """A stream at a time; lines hold no text of the conversations."""
    out, folder = tmp_path / "cells.jsonl", tmp_path / "made"
    for _ in range(2):
        lines = Lines(out, tiny_path.stem, "CPU")
        paraphrases.Paraphrases(tiny_path, folder, texts, lines, threads=1).run(1, 1e9, [STREAM])
        found = done_lines(out)
        assert [line["arm"] for line in found] == [
            "written", "base", "answers", "both, rows of answers", "both", "answers, rows of both",
        ]  # fmt: skip
    assert "number" not in out.read_text() and len(list(folder.iterdir())) == 1
    assert found[0]["asked"] == 8 * 3 and paraphrases.figures(found)[tiny_path.stem]["all"]["streams"] == 1
