"""Training goes on from its checkpoint."""

from dataclasses import replace

import pytest
from idletune.learning import trainers
from idletune.learning.answered import answered_sets
from idletune.learning.cancellation import Cancellation, Cancelled
from idletune.learning.report import TrainingReport
from idletune.learning.stages.train import held_out_pairs, train, training_data
from idletune.state.run_records import open_run
from idletune.training.budget import plan_within_budget as plan
from loop import SETTINGS


def test_train_resumes_from_its_checkpoint(runtime, context_of):
    pipeline = runtime.pipeline()
    examples = training_data(context_of(runtime), pipeline.split().training)
    trainer, _ = pipeline.trainers.trainer(examples)
    with pytest.raises(Cancelled):
        train(context_of(runtime, cancelled=lambda: True), trainer, TrainingReport())
    rest, _ = pipeline.trainers.trainer(examples)
    train(context_of(runtime), rest, report := TrainingReport())
    assert trainer.done == 1 and len(report.losses) == len(rest.sequences) - 1


def test_a_run_goes_on_in_the_form_that_it_began_in(runtime, monkeypatch):
    """Another budget may be found for the second slice (tests/device/training/test_budget.py)."""
    forms, pipeline = [], runtime.pipeline()
    monkeypatch.setattr(trainers, "plan_within_budget", lambda *a, **how: forms.append(how["form"]) or plan(*a, **how))
    began = pipeline.run(Cancellation(lambda: any(runtime.store.home.glob("training.npz")))).plan.form
    assert open_run(runtime.store).form == began and not any(forms)
    assert runtime.pipeline().run(Cancellation(lambda: False)).finished
    assert forms[-1] == began


def test_a_choice_trains_at_less_weight_and_beside_the_reply_that_lost(runtime, context_of):
    runtime.queue.choose(3, "chosen", "lost", "")
    runtime.queue.answer_set(4, "good", "", accepted=True)
    context = context_of(runtime, replace(SETTINGS, choice_weight=0.25))
    everything = answered_sets(runtime.buffer)
    data, (pair,) = training_data(context, everything), held_out_pairs(context, everything)
    (number,) = data.rejected
    assert everything[number].response == "chosen" and everything[number + 1].response == "good"
    assert data.weights == {number: 0.25, number + 1: 0.25}
    assert pair[1].tokens.tolist() == data.rejected[number].tokens.tolist()
    examples, objective = data.within(256, strength=0.5)
    assert len(examples) == len(everything) + 1 and objective.rejected == {number: len(everything)}
    for too_short_or_off in (data.within(8, strength=0.5), data.within(256, strength=0.0)):
        assert len(too_short_or_off[0]) == len(everything) and not too_short_or_off[1].rejected


def test_a_share_of_the_answers_trains_behind_the_nearest_others(runtime, context_of):
    sets = runtime.pipeline().split().training
    plain = training_data(context_of(runtime), sets).examples
    long = replace(SETTINGS, few_shot_share=1.0, retrieve=2, retrieve_tokens=0, example_tokens=400)
    behind = training_data(context_of(runtime, long), sets).examples
    for alone, example, s in zip(plain, behind, sets):
        text, own = runtime.model.detokenize(example.tokens.tolist()), runtime.model.detokenize(alone.tokens.tolist())
        assert text.count("question number") == 3 and text.count(s.question) == 1 and own.count("question number") == 1
        assert (alone.labels >= 0).sum() == (example.labels >= 0).sum()
    half = context_of(runtime, replace(long, few_shot_share=0.5))
    lengths, again = ([len(e.tokens) for e in training_data(half, sets).examples] for _ in range(2))
    assert lengths == again and 0 < sum(map(int.__eq__, lengths, [len(e.tokens) for e in plain])) < len(sets)


def test_a_rejected_reply_stands_behind_the_same_turns(runtime, context_of):
    runtime.queue.choose(3, "chosen", "lost", "")
    long = replace(SETTINGS, few_shot_share=1.0, example_tokens=400, preference=0.5, choice_weight=0.5)
    data = training_data(context_of(runtime, long), answered_sets(runtime.buffer))
    assert len(data.within(1000, strength=0.5)[1].rejected) == 1
