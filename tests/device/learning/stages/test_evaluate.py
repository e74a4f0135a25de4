"""Losses with and without the adapter, and the adapter scale."""

import pytest
from idletune.learning.cancellation import Cancelled
from idletune.learning.report import TrainingReport
from idletune.learning.stages.evaluate import ADAPTER_SCALES, Evaluator
from idletune.learning.stages.train import training_data
from idletune.training.objective import log_odds
from loop import SETTINGS


def no_bar(done, note=""):
    pass


@pytest.fixture
def evaluator_of(runtime, context_of):
    """An evaluator of a trained adapter, with what was held out and a pair of replies."""

    def make(settings=SETTINGS, cancelled=lambda: False):
        pipeline = runtime.pipeline()
        whole, context = pipeline.split(), context_of(runtime, settings, cancelled)
        pipeline.trainers.prepare(context.bars, lambda: None)
        trainer, _ = pipeline.trainers.trainer(training_data(context, whole.training))
        trainer.run()
        held_out = context.encode_all(whole.held_out)
        return Evaluator(context, trainer, whole.run, held_out, [(held_out[0], context.encode("which one", "b" * 40))])

    return make


def test_evaluate_lowers_the_scale_until_general_text_is_within_its_tolerance(evaluator_of, monkeypatch):
    evaluator, report = evaluator_of(), TrainingReport()
    before, alpha = evaluator.engine_losses(), evaluator.trainer.lora.alpha
    assert before.engine_serving == before.engine_base > 0
    base, adapted = evaluator.probe(report, no_bar)
    assert report.adapter_scale == 1.0 and base != adapted
    monkeypatch.setattr(evaluator.evaluation, "losses", lambda *_: (0.0, adapted))  # what no scale comes near
    assert evaluator.probe(report, no_bar)[1] != adapted
    assert report.adapter_scale == ADAPTER_SCALES[-1] and evaluator.trainer.lora.alpha == pytest.approx(alpha * 0.35)


def test_both_losses_have_the_bits_of_each_alone_and_take_the_frozen_layers_once(evaluator_of, monkeypatch):
    evaluator = evaluator_of()
    trainer, layers, passes = evaluator.trainer, evaluator.trainer.layers, []

    def alone() -> tuple[float, float]:
        """The loss of what was held out, and the margin of the pair."""
        total, count = trainer.evaluate(evaluator.held_out)
        odds = [log_odds(*trainer.evaluate([example])) for example in evaluator.pairs[0]]
        return total / count, odds[0] - odds[1]

    with trainer.lora.disabled():
        base = alone()
    adapted, frozen_forward = alone(), layers.frozen_forward
    monkeypatch.setattr(layers, "frozen_forward", lambda *a, **b: passes.append(1) or frozen_forward(*a, **b))
    assert evaluator.personal(1.0) == (base[0], adapted[0]) and base[0] != adapted[0]
    assert len(passes) == 1  # all that was held out is one row
    assert evaluator.margins(1.0) == (base[1], adapted[1]) and base[1] != adapted[1]
    assert len(passes) == 3


def test_losses_that_were_cancelled_go_on_where_they_stood(evaluator_of):
    whole = evaluator_of().personal(1.0)
    looks = iter([False, True])  # the base model's loss is taken, the adapter's is not
    stopped = evaluator_of(cancelled=lambda: next(looks))
    stopped.evaluation.run.measures.clear()
    with pytest.raises(Cancelled):
        stopped.personal(1.0)
    kept = evaluator_of().evaluation.run.measures
    assert list(kept) == ["personal base, part 0"]
    assert evaluator_of().personal(1.0) == whole
