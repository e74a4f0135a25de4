"""A second look at the adapter in use: does it suit the answers given since it was promoted?

The gate judged it on answers of the past. Each later answer is one more paired measurement: its loss under
the adapter in use and under the one before (or the base), in llama.cpp. Only when the difference is worse
by more than its noise, the adapter is rolled back. Losses are kept as they are taken: a stopped look goes on
where it stood, and a later one measures what is new.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt

from ..dialogue import DialogueSet
from ..errors import DamagedDataError
from ..selection.buffer import Buffer
from ..settings import Settings
from ..training.rows import Example
from .adapters import Adapters, AdapterVersion
from .measures import measures_key
from .night import Stopped, load, serve

LEAST_ANSWERS = 8
MOST_ANSWERS = 64  # the newest; enough to see a difference, quick to measure
# Standard errors by which the mean must be worse. One-sided, a harmless adapter is dropped in 1% of the cases
# with 8 answers (t, 7 degrees of freedom), in 0.2% with many.
LEAST_ERRORS = 3.0


@dataclass(frozen=True)
class Review:
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


def review(
    model, adapters: Adapters, buffer: Buffer, settings: Settings, should_stop: Callable[[], bool] = lambda: False
) -> Review | None:
    """Compare, record, and roll back if need be; None where there is nothing new to compare, or when stopped."""
    serving = adapters.current()
    if serving is None:
        return None
    before = next(iter(adapters.in_state("retired")), None)
    answers = _answers_since(buffer, serving, before)
    ids = [s.id for s in answers]
    if len(answers) < LEAST_ANSWERS or _seen(adapters, serving) == ids:
        return None
    examples = [
        model.encode_exchange(s.question, s.response, system=settings.system, longest=settings.example_tokens)
        for s in answers
    ]
    losses = AnswerLosses(model, adapters, buffer, should_stop)
    try:
        now, then = (losses.under(adapter, answers, examples) for adapter in (serving, before))
        differences = [loss - earlier for loss, earlier in zip(now, then)]
        found = Review(serving.version, before.version if before else None, len(answers), *mean_and_error(differences))
        with adapters.store.transaction():
            if found.failed:
                adapters.rollback(f"rolled back: {found.reason}")
            adapters.store.log("review", **asdict(found), rolled_back=found.failed, sets=ids)
    except (DamagedDataError, Stopped):  # one of the files is not whole: nothing to compare with
        return None
    finally:
        serve(model, adapters)
    return found


class AnswerLosses:
    """Losses of single answers in llama.cpp, in nats per token, each measured once."""

    def __init__(self, model, adapters: Adapters, buffer: Buffer, should_stop: Callable[[], bool]):
        self.model, self.adapters, self.buffer, self.should_stop = model, adapters, buffer, should_stop
        self.store = adapters.store

    def under(self, adapter: AdapterVersion | None, answers: list[DialogueSet], examples: list[Example]) -> list[float]:
        """With a version, or the base alone. Raises Stopped before a measurement when a stop is asked for."""
        losses, loaded = [], False
        for answer, example in zip(answers, examples):
            key = self._key(adapter, example)
            loss = self._kept(answer, key)
            if loss is None:
                if self.should_stop():
                    raise Stopped
                if not loaded:
                    self._load(adapter)
                    loaded = True
                loss = self._measure(answer, example, key)
            losses.append(loss)
        return losses

    def _measure(self, answer: DialogueSet, example: Example, key: str) -> float:
        total, count = self.model.negative_log_likelihood([example])
        loss = total / max(1, count)
        with self.store.transaction() as db:
            if answer.id in self.buffer:  # else it was forgotten meanwhile
                db.execute("INSERT OR REPLACE INTO answer_losses VALUES (?, ?, ?)", (answer.id, key, loss))
        return loss

    def _kept(self, answer: DialogueSet, key: str) -> float | None:
        sql = "SELECT loss FROM answer_losses WHERE dialogue_set_id = ? AND key = ?"
        row = self.store.row(sql, answer.id, key)
        return row["loss"] if row else None

    def _key(self, adapter: AdapterVersion | None, example: Example) -> str:
        key = measures_key([example], self.model.sha256, adapter.version if adapter else 0)
        return self.store.sealer.digest(key)  # a short answer could be guessed from a plain hash

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


def _answers_since(buffer: Buffer, serving: AdapterVersion, before: AdapterVersion | None) -> list:
    """Answered sets that neither of the two has learned from or was judged by. No clock is asked: it may jump."""
    known = {*serving.dialogue_set_ids, *(before.dialogue_set_ids if before else ())}
    return [s for s in buffer.sets() if s.response is not None and s.id not in known][-MOST_ANSWERS:]


def _seen(adapters: Adapters, serving: AdapterVersion) -> list[int]:
    """The sets that the last review looked at, if it was of this version."""
    event = next(iter(adapters.store.events(1, "review")), None)
    return event.detail["sets"] if event and event.detail["version"] == serving.version else []
