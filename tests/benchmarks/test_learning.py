"""The jobs of the learning experiments, what a file of examples keeps, and what the measured adapters come to."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from idletune.examples import labelled_example

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from learning import experiments, report  # noqa: E402
from learning.examples_file import ExamplesFile, start_of  # noqa: E402

STREAM = "dolly/"


def example(*tokens: int, start: int = 2):
    return labelled_example(list(tokens), start=start)


@pytest.fixture
def file() -> ExamplesFile:
    """Twelve exchanges: typed answers, and two replies to each."""
    found, count = ExamplesFile(), 12
    found[f"{STREAM}|held_out"] = [example(1, 2, 90)]
    found[f"{STREAM}|typed"] = [example(1, 2, 10 + i) for i in range(count)]
    for name, first in (("first", 30), ("second", 60)):
        for role, further in (("chosen", 0), ("rejected", 1)):
            found[f"{STREAM}|{name} {role}"] = [example(1, 2, first + i, start=2 - further) for i in range(count)]
    return found


def test_a_file_of_examples_keeps_them(file, tmp_path):
    file.facts["ends"] = [2]
    file["none labelled"] = [example(5, 6, 7, start=3)]
    file.write(tmp_path / "made" / "examples.npz")
    found = ExamplesFile.read(tmp_path / "made" / "examples.npz")
    assert found.facts == {"ends": [2]} and "nothing" not in found
    for name in (f"{STREAM}|typed", f"{STREAM}|second rejected", "none labelled"):
        for one, other in zip(file[name], found[name], strict=True):
            assert one.tokens.tolist() == other.tokens.tolist() and one.labels.tolist() == other.labels.tolist()
    assert start_of(found["none labelled"][0]) == 3
    found["again"] = file[f"{STREAM}|typed"]
    found.write(tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as kept:
        told = json.loads(str(kept["told"]))["lists"]
    assert told["again"] == told[f"{STREAM}|typed"]  # equal ones are kept once


def test_taps_follow_the_typed_answers(file):
    arm = experiments.Arm(3, 4, preference=0.25, weight=0.5)
    swapped = np.zeros(12, bool)
    swapped[4] = True
    data = experiments.tapped_data(file, STREAM, arm, swapped, seed=0)
    assert [e.tokens[2] for e in data.examples] == [10, 11, 12, 33, 64, 35, 36]
    assert data.weights == {3: 0.5, 4: 0.5, 5: 0.5, 6: 0.5}
    assert {n: e.tokens[2] for n, e in data.rejected.items()} == {3: 63, 4: 34, 5: 65, 6: 66}
    other = experiments.tapped_data(file, STREAM, arm, swapped, seed=1)
    assert [e.tokens[2] for e in other.examples] != [e.tokens[2] for e in data.examples]


def test_every_arm_of_taps_is_a_job_for_each_seed(file):
    jobs = list(experiments.taps(file, {STREAM: np.ones(12, bool)}, [STREAM]))
    assert len({job.key for job in jobs}) == len(jobs) == experiments.SEEDS * len(experiments.ARMS)
    by_arm = {job.arm: job for job in jobs if job.seed == 0}
    assert by_arm["32 typed"].objective.is_plain
    assert by_arm["96 taps, preference 0.25"].objective.strength == 0.25
    assert len(by_arm["96 taps, preference 0.25"].examples) == 2 * len(by_arm["96 taps"].examples)
    first = [by_arm[name].examples[-1].tokens[2] for name in ("96 taps", "96 taps, by likelihood")]
    assert first == [41, 71]


def test_a_share_of_the_answers_stands_behind_others(file):
    file[f"{STREAM}|kept"] = [example(1, 2, i) for i in range(40)]
    file[f"{STREAM}|kept, 768"] = file[f"{STREAM}|kept"]
    file[f"{STREAM}|kept behind others, 768"] = [example(8, 9, 1, 2, i, start=4) for i in range(40)]
    file[f"{STREAM}|kept behind others, 256"] = [example(9, 1, 2, i, start=3) for i in range(40)]
    file[f"{STREAM}|held_out, words"] = file[f"{STREAM}|held_out"]
    jobs = {(job.arm, job.seed): job for job in experiments.few_shot(file, [STREAM])}
    half, whole = (jobs[f"share {share}, 768 tokens", 0] for share in ("0.5", "1"))
    assert {len(e.tokens) for e in whole.examples} == {5} and {len(e.tokens) for e in half.examples} == {3, 5}
    assert {len(e.tokens) for e in jobs["share 0, 768 tokens", 0].examples} == {3}
    assert half.settings.sequence_tokens == 768
    drawn = [[len(e.tokens) for e in jobs["share 0.5, 768 tokens", seed].examples] for seed in range(2)]
    assert drawn[0] != drawn[1]


def line(arm, seed=0, stream=STREAM, experiment="taps", **losses):
    told = {"experiment": experiment, "stream": stream, "arm": arm, "seed": seed, "model": "tiny"}
    return told | {"losses": losses, "parameters": 7}


def test_arms_are_compared_with_typed_answers():
    lines = [
        line("base", alone=[4.0, 4.0]),
        line("32 typed", alone=[3.0, 3.0]),
        line("32 typed", 1, alone=[3.0, 3.0]),
        line("96 taps", alone=[3.5, 3.5]),
        line("base", stream="medquad/+400", alone=[4.0]),
        line("96 taps", stream="medquad/+400", alone=[1.0]),
    ]
    found = report.figures(lines, {})["tiny"]["taps"]
    assert found["all"]["96 taps"] == {
        "streams": 1, "data_sets": 1, "exchanges": 2,
        "gain": {"more": 0.5, "low": 0.5, "high": 0.5}, "than typed": {"more": -0.5, "low": -0.5, "high": -0.5},
    }  # fmt: skip
    assert "untouched" not in found


def test_retrieval_is_compared_with_what_embeddings_gained():
    lines = [
        line(arm, stream=stream, experiment="kept", alone=alone, words=words)
        for stream in ("dolly/", "dolly/+200")
        for arm, alone, words in (("base", [4.0, 4.0], [3.0, 3.0]), ("as it comes", [3.0, 3.0], [2.5, 2.5]))
    ]
    before = {"base": [4.0, 4.0], "retrieval": [3.25, 3.25], "adapted": [3.1, 3.1], "retrieval_adapted": [2.7, 2.7]}
    found = report.figures(lines, {"dolly/": before, "dolly/+200": before})["tiny"]["retrieval"]
    assert found["all"]["streams"] == 2 and found["untouched"]["streams"] == 1 and found["dolly"]["exchanges"] == 4
    assert found["all"]["adapter"]["more"] == 1.0
    assert found["all"]["base"]["gain"]["more"] == 1.0 and found["all"]["base"]["than embeddings"]["more"] == 0.25
    assert found["all"]["as it comes"]["gain"]["more"] == 0.5
    assert found["all"]["as it comes"]["than embeddings"]["more"] == pytest.approx(0.1)


def test_the_products_own_trainer_is_held_beside():
    lines = [
        line("as it comes", experiment="kept", alone=[3.0, 3.0]),
        line("as it comes", experiment="product", alone=[3.02, 3.0]),
    ]
    found = report.figures(lines, {})["tiny"]["product"]
    assert found == {"as it comes": {"streams": 1, "mean": 0.01, "largest": 0.01}}
