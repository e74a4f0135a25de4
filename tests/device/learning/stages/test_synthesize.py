"""Paraphrases are asked for once, batch by batch."""

from dataclasses import replace

import pytest
from idletune.learning.cancellation import Cancelled
from idletune.learning.stages.synthesize import synthesize
from idletune.learning.synthesis import SynthesisReport
from idletune.state.paraphrases import paraphrases
from loop import SETTINGS


def test_synthesize_asks_once_and_stops_when_cancelled(runtime, context_of):
    sets, settings = runtime.pipeline().split().training, replace(SETTINGS, paraphrases=1)
    with pytest.raises(Cancelled):
        synthesize(context_of(runtime, settings, lambda: True), sets, SynthesisReport())
    report = SynthesisReport()
    synthesize(context_of(runtime, settings), sets, report)
    assert report.asked == len(sets)
    assert sum(len(paraphrases(runtime.store, s.id)) for s in sets) == report.accepted
    synthesize(context_of(runtime, settings), sets, again := SynthesisReport())
    assert again.asked == 0
