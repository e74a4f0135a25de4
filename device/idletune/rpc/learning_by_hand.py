"""Learning that a person began by hand: it goes on after the call that began it, until it ends or is stopped."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..errors import IdleTuneError
from .errors import BUSY, CANCELLED, RpcError, of_exception
from .shared_runtime import SharedRuntime

if TYPE_CHECKING:  # loads numerical libraries
    from ..learning.report import TrainingReport
    from ..progress import Bars
    from ..runtime import Runtime

log = logging.getLogger("idletune.rpc")
Announced = Callable[["Runtime"], AbstractContextManager[object]]  # tells clients what a step does to the adapters
Ended = Callable[[str, str], None]  # gets the outcome, and the reason as a sentence


class LearningByHand:
    """One run at a time. It steps aside for whoever needs the model, and goes on afterwards."""

    def __init__(self, shared: SharedRuntime):
        self._shared, self._mutex = shared, threading.Lock()
        self.running = False  # whether a run was begun and has not ended

    def begin(self, bars: "Bars", announced: Announced, ended: Ended) -> None:
        """Learn in a thread of its own; `ended` is called at its end. RpcError (busy) while a run is under way."""
        with self._mutex:
            if self.running:
                raise RpcError(BUSY, "it is learning already; stop ends that")
            self.running = True
            arguments = bars, announced, ended
            threading.Thread(target=self._run, args=arguments, name="idletune-learning", daemon=True).start()

    def _run(self, bars: "Bars", announced: Announced, ended: Ended) -> None:
        outcome, reason = self._outcome(bars, announced)
        self.running = False  # first: whoever hears of the end may ask, or begin anew
        ended(outcome, reason)

    def _outcome(self, bars: "Bars", announced: Announced) -> tuple[str, str]:
        """How it ended, and why; whatever went wrong is told and ends here."""
        try:
            return self._learn(bars, announced)
        except (RpcError, IdleTuneError) as error:
            cancelled = isinstance(error, RpcError) and error.code == CANCELLED
            return "stopped" if cancelled else "failed", str(error)
        except Exception as error:
            log.exception("learning failed")
            return "failed", str(of_exception(error))

    def _learn(self, bars: "Bars", announced: Announced) -> tuple[str, str]:
        """Run the training pipeline until it has a verdict or is asked to stop; the outcome, and why."""
        reports: "list[TrainingReport]" = []

        def step(runtime: "Runtime", why_stop: Callable[[], str]) -> None:
            with announced(runtime):
                learn = lambda: runtime.learn(lambda: bool(why_stop()), bars)  # noqa: E731
                reports.append(self._shared.compute(learn))

        with self._shared.learning_by_hand() as run:
            while run(step) and reports[-1].verdict is None:
                pass
        verdict = reports[-1].verdict if reports else None
        if verdict is None:
            return "stopped", "asked to stop; it goes on there the next time"
        return verdict.outcome.name.lower(), verdict.reason
