"""The jobs of the learning experiments, what a file of examples keeps, and what the measured adapters come to."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from idletune.dialogue import Exchange
from idletune.examples import labelled_example
from idletune.settings import Settings

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from learning import experiments, report  # noqa: E402
from learning.examples_file import ExamplesFile, start_of  # noqa: E402
from learning.lines import Lines  # noqa: E402
from learning.product import ProductRunner  # noqa: E402
from learning.simulated_user import chosen_first, nearness  # noqa: E402

STREAM = "dolly/"


def example(*tokens: int, start: int = 2):
    return labelled_example(list(tokens), start=start)


@pytest.fixture
def file() -> ExamplesFile:
    """Twelve exchanges: typed answers, and two replies to each; the sixth's first reply is the nearest, then the
    fifth's, and so on."""
    found, count = ExamplesFile(), 12
    found[f"{STREAM}|held_out"] = [example(1, 2, 90)]
    found[f"{STREAM}|typed"] = [example(1, 2, 10 + i) for i in range(count)]
    for name, first in (("first", 30), ("second", 60)):
        for role, further in (("chosen", 0), ("rejected", 1)):
            found[f"{STREAM}|{name} {role}"] = [example(1, 2, first + i, start=2 - further) for i in range(count)]
    found[f"{STREAM}|reply"] = [example(1, 2, 120 + i) for i in range(count)]
    found.facts["nearness"] = {STREAM: [0.1 * i if i < 6 else 0.0 for i in range(count)]}
    return found


def test_the_user_picks_the_reply_nearer_to_the_real_response():
    exchanges = [Exchange("how much?", "a pinch of salt"), Exchange("when?", "at ten"), Exchange("who?", "me")]
    pairs = [["ten grams", "a pinch of it"], ["at noon", "then"], ["a", "b"]]
    assert chosen_first(pairs, exchanges) == [["a pinch of it", "ten grams"], ["at noon", "then"], ["a", "b"]]
    assert nearness(["a pinch of salt", "never", "me or you"], exchanges) == [1.0, 0.0, 0.5]


def test_a_file_of_examples_keeps_them(file, tmp_path):
    file.facts["ends"] = [2]
    file["none labelled"] = [example(5, 6, 7, start=3)]
    file.write(tmp_path / "made" / "examples.npz")
    found = ExamplesFile.read(tmp_path / "made" / "examples.npz")
    assert found.facts == file.facts and found.facts["ends"] == [2] and "nothing" not in found
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


def test_thumbs_go_to_the_nearest_replies_to_what_was_not_typed(file):
    data = experiments.thumbed_data(file, STREAM, experiments.ThumbsArm(4, 1 / 4, 0.25), seed=0)
    assert [e.tokens[2] for e in data.examples] == [10, 11, 12, 13, 125, 124]
    assert data.weights == {4: 0.25, 5: 0.25} and not data.rejected
    other = experiments.thumbed_data(file, STREAM, experiments.ThumbsArm(4, 1 / 4), seed=1)
    typed, liked = [e.tokens[2] for e in other.examples[:4]], [e.tokens[2] for e in other.examples[4:]]
    assert 14 in typed and liked == [125, 123]  # what is typed gets no thumb
    alone = experiments.thumbed_data(file, STREAM, experiments.ThumbsArm(0, 1 / 4), seed=0)
    assert [e.tokens[2] for e in alone.examples] == [125, 124, 123]


def test_without_a_gpu_few_jobs_are_left_and_a_seed_is_done_before_the_next(file):
    file[f"{STREAM}|kept"] = file[f"{STREAM}|typed"]
    jobs = experiments.one_by_one(file, seeds=2)
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs) and {job.stream for job in jobs} == {STREAM}
    assert len({job.key for job in jobs}) == len(jobs)
    arms = {job.arm for job in jobs if job.experiment == "thumbs"}
    assert arms == set(experiments.THUMBS) and jobs[0].experiment == "thumbs"


@pytest.fixture
def lines(tmp_path) -> Lines:
    return Lines(tmp_path / "cells.jsonl", "tiny", "CPU")


def test_lines_know_what_is_measured_of_their_model(lines):
    lines.write(("taps", STREAM, "base", 0), {"alone": [1.23456]})
    lines.path.write_text(lines.path.read_text() + '{"cut')
    again, other = (Lines(lines.path, model, "CPU") for model in ("tiny", "another"))
    again.write(("taps", STREAM, "32 typed", 1), {"alone": [1.0]}, rows=3)
    keys = ("taps", STREAM, "base", 0), ("taps", STREAM, "32 typed", 1)
    assert [key in again for key in keys] == [True, True] and keys[0] not in other
    told = [json.loads(text) for text in lines.path.read_text().splitlines() if not text.endswith("cut")]
    assert [line["losses"]["alone"] for line in told] == [[1.2346], [1.0]] and told[1]["rows"] == 3


def test_the_products_trainer_measures_what_is_left(lines, tiny_path):
    def job(arm: str, token: int) -> experiments.Job:
        settings = Settings(rank=4, epochs=1, min_steps=8, sequence_tokens=64, threads=1)
        judged = {"alone": [example(1, 2, 90), example(1, 2, 91)]}
        return experiments.Job("thumbs", STREAM, arm, 0, settings, [example(1, 2, token)] * 2, judged)

    lines.write(("thumbs", STREAM, "done", 0), {"alone": [1.0, 1.0]})
    jobs = [job("done", 90), job("one", 90), job("other", 91)]
    ProductRunner(tiny_path, lines, seconds=600, threads=1).run(jobs)
    measured = [json.loads(text) for text in lines.path.read_text().splitlines()]
    assert [line["arm"] for line in measured] == ["done", "base", "one", "other"]
    base, one, other = (line["losses"]["alone"] for line in measured[1:])
    assert one[0] < base[0] and other[1] < base[1] and one[0] < other[0] and other[1] < one[1]
    ProductRunner(tiny_path, lines, seconds=-1, threads=1).run([*jobs, job("late", 90)])
    assert ("thumbs", STREAM, "late", 0) not in lines


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
