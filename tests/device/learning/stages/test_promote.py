"""The verdict is carried out."""

import pytest
from idletune.learning.gate import Evidence
from idletune.learning.outcome import Outcome
from idletune.learning.stages.promote import promote
from idletune.state.run_records import open_run
from loop import SETTINGS


@pytest.mark.parametrize("adapted, outcome", [(1.0, Outcome.PROMOTED), (3.0, Outcome.REJECTED)])
def test_promote_carries_the_verdict_out_and_finishes_the_run(runtime, context_of, adapted, outcome):
    whole, context = runtime.pipeline().split(), context_of(runtime)
    lora = runtime.pipeline().trainers.new_lora().initialize(1)
    candidate = runtime.adapters.add(lora, SETTINGS, whole.all_ids)
    evidence = Evidence(2.0, adapted, 2.0, 2.0, adapted, 2.0, 2.0)
    assert promote(context, whole.run, candidate, evidence, whole.all_ids).outcome is outcome
    promoted = outcome is Outcome.PROMOTED
    assert open_run(runtime.store) is None and (runtime.adapters.current() is not None) == promoted
    learned = {s.tags["learned_in"] for s in runtime.buffer.sets()}
    assert learned == ({candidate.version} if promoted else {None})
