"""Learning in pieces: wherever it is stopped, the next call goes on there and comes to the same adapter."""

import numpy as np
import pytest
from idletune.formats.gguf_file import GgufFile
from idletune.learning.training_runs import count_answers
from idletune.settings import Settings
from idletune.state.run_records import open_run
from idletune.state.set_records import embeddings_due, is_paraphrased
from loop import SETTINGS, answer_all, observe, open_tiny_runtime

PARAPHRASING = Settings(**{**vars(SETTINGS), "paraphrases": 1, "epochs": 6})


@pytest.fixture
def open_runtime(tiny_path, home):
    return open_tiny_runtime(tiny_path, home)


def looks(limit):
    """A stop request that comes at the given look."""
    count = iter(range(10**9))
    return lambda: next(count) >= limit


def looks_after_synthesis(runtime, limit):
    """The same, counted from when all paraphrases are there."""
    stop, sets = looks(limit), open_run(runtime.store).training
    return lambda: all(is_paraphrased(runtime.store, id) for id in sets) and stop()


def adapter_bits(runtime):
    file = GgufFile(runtime.adapters.current().path)
    return {name: file.raw(name).tobytes() for name in file.tensors}


def test_cut_into_many_slices_it_comes_to_the_same_adapter(open_runtime, tmp_path):
    results = []
    for name, limit in (("whole", 10**9), ("pieces", 5)):
        with open_runtime(PARAPHRASING, tmp_path / name) as runtime:
            observe(runtime, 12)
            answer_all(runtime)
        stages, report = [], None
        while report is None or not report.finished:
            with open_runtime(PARAPHRASING, tmp_path / name) as runtime:
                stop = looks(limit) if report is None else looks_after_synthesis(runtime, limit)
                report = runtime.learn(should_stop=stop, embed_anew=False)
                stages.append(report.stage)
                assert len(stages) < 200
        with open_runtime(PARAPHRASING, tmp_path / name) as runtime:
            results.append((adapter_bits(runtime), report.evidence, stages))
    (whole, evidence, _), (pieces, same, stages) = results
    assert {"synthesis", "training", "gate"} <= {*stages}, stages
    assert len(stages) > 5 and whole == pieces and evidence == same


def test_an_answer_in_between_waits_for_the_next_round(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 12)
        answer_all(runtime)
        assert not runtime.learn(should_stop=looks(8)).finished
        observe(runtime, 3, start=12)
        answer_all(runtime)
        assert runtime.learn().trained_sets == 10 and count_answers(runtime.store, 0)[0] == 3


def test_a_round_that_lost_a_set_begins_anew(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 12)
        answer_all(runtime)
        runtime.learn(should_stop=looks(8))
        begun = open_run(runtime.store)
        runtime.forget(begun.training[0])
        report = runtime.learn()
        assert report.finished and report.trained_sets + report.held_out_sets == 11
        assert open_run(runtime.store) is None


def test_what_was_rejected_is_not_tried_again_without_new_answers(open_runtime):
    with open_runtime(Settings(**{**vars(SETTINGS), "learning_rate": 0.0})) as runtime:
        observe(runtime, 10)
        answer_all(runtime)
        assert not runtime.learn().verdict.promoted
        assert count_answers(runtime.store, 0)[0] == 0 and "new answers" in runtime.scheduler.nothing_to_learn()


def test_embedding_anew_goes_on_set_by_set(open_runtime):
    with open_runtime() as runtime:
        observe(runtime, 10)
        answer_all(runtime)
        runtime.learn(embed_anew=False)
        assert len(embeddings_due(runtime.store)) == 10
        assert not runtime.refresh_embeddings(should_stop=looks(4)) and len(embeddings_due(runtime.store)) == 6
        old = [s.embedding for s in runtime.buffer.sets()]
        assert runtime.refresh_embeddings() and not embeddings_due(runtime.store)
        changed = [not np.array_equal(s.embedding, before) for s, before in zip(runtime.buffer.sets(), old)]
        assert changed == [False] * 4 + [True] * 6


def test_a_stop_ends_a_batch_of_paraphrases(open_runtime):
    with open_runtime(PARAPHRASING) as runtime:
        observe(runtime, 12)
        answer_all(runtime)
        report = runtime.learn(should_stop=looks(3))
        assert report.stage == "synthesis" and not is_paraphrased(runtime.store, 1)
        assert runtime.chat("still there?") is not None
