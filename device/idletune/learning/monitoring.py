"""Adapter monitoring: does the adapter in use suit the answers given since it was promoted?

The gate judged it on answers of the past. Each later answer is one more paired measurement: its loss under
the adapter in use and under the one before (or the base), in llama.cpp. Only when the difference is worse
by more than its noise, the adapter is rolled back. Losses are kept as they are taken: cancelled monitoring goes on
where it stood, and the next one measures what is new.
"""

from dataclasses import dataclass
from math import sqrt

from ..errors import DamagedDataError
from ..examples import Example
from ..model.base_model import BaseModel
from ..selection.buffer import Buffer
from ..settings import Settings
from ..state.adapter_records import AdapterVersion
from ..state.answer_losses import keep_loss, kept_loss
from ..state.choices import accepted_sets
from ..state.comparisons import compared_sets, record_comparison
from ..state.origins import IMPORT
from ..state.store import Store
from .adapters import Adapters
from .answered import AnsweredSet, answered_sets, ids_of
from .cancellation import Cancellation, Cancelled
from .evaluation import evaluation_key
from .serving import load, serve

MIN_ANSWERS_TO_MONITOR = 8
MOST_ANSWERS = 64  # the newest; enough to see a difference, quick to measure
# Standard errors by which the mean must be worse. One-sided, a harmless adapter is dropped in 1% of the cases
# with 8 answers (t, 7 degrees of freedom), in 0.2% with many.
LEAST_ERRORS = 3.0


@dataclass(frozen=True)
class Comparison:
    """`worse` is the mean over answers of loss now minus loss before, nats per token; `error` its standard error."""

    version: int
    before: int | None  # the version compared with; None is the base
    answers: int
    worse: float
    error: float

    @property
    def failed(self) -> bool:
        return self.worse > LEAST_ERRORS * self.error and self.worse > 0

    @property
    def reason(self) -> str:
        return (
            f"answers since fit worse by {self.worse:.3f} +- {self.error:.3f} nats per token"
            f" than with {f'adapter {self.before}' if self.before else 'the base'} ({self.answers} answers)"
        )


def monitor_adapter(
    model: BaseModel, adapters: Adapters, buffer: Buffer, settings: Settings, cancellation: Cancellation
) -> Comparison | None:
    """Compare, record, and roll back if need be; None where there is nothing new to compare, or when cancelled."""
    serving = adapters.current()
    if serving is None:
        return None
    before = next(iter(adapters.in_state("retired")), None)
    answers = answers_since(adapters.store, buffer, serving, before)
    ids = ids_of(answers)
    if len(answers) < MIN_ANSWERS_TO_MONITOR or compared_sets(adapters.store, serving.version) == ids:
        return None
    examples = [
        model.encode_exchange(s.question, s.response, system=settings.system, max_tokens=settings.example_tokens)
        for s in answers
    ]
    losses = AnswerLosses(model, adapters, cancellation)
    try:
        now, then = (losses.under(adapter, answers, examples) for adapter in (serving, before))
        differences = [loss - earlier for loss, earlier in zip(now, then)]
        found = Comparison(
            serving.version, before.version if before else None, len(answers), *mean_and_error(differences)
        )
        with adapters.store.transaction():
            if found.failed:
                adapters.rollback(f"rolled back: {found.reason}")
            record_comparison(adapters.store, found.version, found.before, found.worse, found.error, found.failed, ids)
    except (DamagedDataError, Cancelled):  # one of the files is not whole: nothing to compare with
        return None
    finally:
        serve(model, adapters)
    return found


class AnswerLosses:
    """Losses of single answers in llama.cpp, in nats per token, each measured once."""

    def __init__(self, model: BaseModel, adapters: Adapters, cancellation: Cancellation):
        self.model, self.adapters, self.cancellation = model, adapters, cancellation
        self.store = adapters.store

    def under(self, adapter: AdapterVersion | None, answers: list[AnsweredSet], examples: list[Example]) -> list[float]:
        """With a version, or the base alone. Raises Cancelled before a measurement."""
        losses: list[float] = []
        loaded = False
        for answer, example in zip(answers, examples):
            key = self._key(adapter, example)
            loss = kept_loss(self.store, answer.id, key)
            if loss is None:
                self.cancellation.check()
                if not loaded:
                    self._load(adapter)
                    loaded = True
                loss = self._measure(answer, example, key)
            losses.append(loss)
        return losses

    def _measure(self, answer: AnsweredSet, example: Example, key: str) -> float:
        total, count = self.model.negative_log_likelihood([example])
        loss = total / max(1, count)
        keep_loss(self.store, answer.id, key, loss)
        return loss

    def _key(self, adapter: AdapterVersion | None, example: Example) -> str:
        key = evaluation_key([example], self.model.sha256, adapter.version if adapter else 0)
        return self.store.cipher.digest(key)  # a short answer could be guessed from a plain hash

    def _load(self, adapter: AdapterVersion | None) -> None:
        if adapter is None:
            self.model.remove_adapter()
        else:
            load(self.model, self.adapters, adapter)


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean and its standard error."""
    count = len(values)
    mean = sum(values) / count
    spread = sum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, sqrt(spread / count)


def answers_since(
    store: Store, buffer: Buffer, serving: AdapterVersion, before: AdapterVersion | None
) -> list[AnsweredSet]:
    """Answered sets that neither of the two has learned from or was judged by. No clock is asked: it may jump.

    Imported answers are of the past, whenever they came in. A reply of the model suits whatever wrote it.
    """
    known = {*serving.dialogue_set_ids, *(before.dialogue_set_ids if before else ()), *accepted_sets(store)}
    return [s for s in answered_sets(buffer) if s.id not in known and s.answer_origin != IMPORT][-MOST_ANSWERS:]
