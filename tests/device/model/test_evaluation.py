"""Losses and logits of given tokens."""

import numpy as np
import pytest
from idletune.errors import UsageError
from idletune.model.context import NonFiniteOutput
from small_talk import EXCHANGES


def test_the_loss_is_the_cross_entropy_of_the_logits(tiny):
    examples = [tiny.encode_exchange(*exchange) for exchange in EXCHANGES]
    expected, count = 0.0, 0
    for tokens, labels in examples:
        logits = tiny.logits(tokens.tolist()).astype(np.float64)
        log_sums = np.log(np.exp(logits).sum(axis=1))
        rows = np.flatnonzero(labels >= 0)
        expected += (log_sums[rows] - logits[rows, labels[rows]]).sum()
        count += len(rows)
    seen = []
    loss, labelled = tiny.negative_log_likelihood(examples, seen.append)
    assert loss == pytest.approx(expected, rel=2e-3) and labelled == count
    assert seen == list(range(1, len(examples) + 1))


def test_an_example_that_does_not_fit_is_refused(tiny):
    with pytest.raises(UsageError, match="do not fit the context of 2048"):
        tiny.negative_log_likelihood([tiny.encode_text("a" * 3000)])


def test_output_that_is_not_finite_is_refused(tiny, monkeypatch):
    tiny.check_finite()
    monkeypatch.setattr(tiny.engine, "logits", lambda index: np.array([0.0, np.nan], np.float32))
    with pytest.raises(NonFiniteOutput, match="NaN or infinity.: the model's file is damaged"):
        tiny.check_finite()
