"""Losses before training, and the adapter scale."""

from dataclasses import replace

import pytest
from idletune.learning.report import TrainingReport
from idletune.learning.stages.evaluate import ADAPTER_SCALES, Evaluator
from idletune.learning.stages.train import training_data
from loop import SETTINGS


def test_evaluate_lowers_the_scale_until_general_text_is_within_its_tolerance(runtime, context_of):
    pipeline = runtime.pipeline()
    whole, strict = pipeline.split(), context_of(runtime, replace(SETTINGS, probe_tolerance=0.0))
    trainer, _ = pipeline.trainers.trainer(training_data(strict, whole.training))
    evaluator = Evaluator(strict, trainer, whole.run, strict.encode_all(whole.held_out))
    before, alpha, report = evaluator.base_losses(), trainer.lora.alpha, TrainingReport()
    assert before.engine_serving == before.engine_base and before.personal_base > 0
    evaluator.lower_scale(0.0, report, lambda done, note="": None)
    assert report.adapter_scale == ADAPTER_SCALES[-1] and trainer.lora.alpha == pytest.approx(alpha * 0.35)
