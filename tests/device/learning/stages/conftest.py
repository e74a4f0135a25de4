from collections.abc import Callable

import pytest
from idletune.learning.cancellation import Cancellation
from idletune.learning.stages.context import Context
from idletune.progress import no_bars
from loop import SETTINGS, answer_all, observe, open_tiny_runtime


@pytest.fixture
def runtime(tiny_path, home):
    with open_tiny_runtime(tiny_path, home)() as runtime:
        observe(runtime, 10)
        answer_all(runtime)
        yield runtime


@pytest.fixture
def context_of() -> Callable[..., Context]:
    """The context that a stage gets in a runtime's pipeline."""

    def context(runtime, settings=SETTINGS, cancelled=lambda: False):
        cancellation = Cancellation(cancelled)
        r = runtime
        return Context(r.store, r.buffer, r.adapters, r.model, settings, cancellation, no_bars)

    return context
