"""FedAvg over B, by Flower, behind checks: no reply weighs more than another, none is longer than noise allows.

Clipping on the phone protects its user from the fleet. Clipping here, by Flower's wrapper, protects the fleet from a
phone: a poisoned update moves the average by no more than its bound divided by the number of replies. The bound is the
terms' or, where that is lower, the median length of the round's changes, which no minority of phones can raise.
"""

from collections.abc import Iterable
from logging import INFO

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from flwr.supercore import log
from idletune.fleet.terms import Terms

from .bounds import longest_update, median_norm
from .client_app import ARRAYS, EXAMPLES, LOSS, METRICS, B, record_of, values_of

LEAST_PHONES = 2  # an average of one is that one's update


class FleetStrategy(DifferentialPrivacyServerSideFixedClipping):
    """Over `terms`, for a vector of `size` numbers. `replies` counts what each round's average was made of."""

    def __init__(self, terms: Terms, size: int):
        evaluated = 1.0 if terms.tell_loss else 0.0
        average = FedAvg(
            fraction_train=1.0,
            fraction_evaluate=evaluated,
            min_train_nodes=terms.phones,
            min_evaluate_nodes=terms.phones if terms.tell_loss else 0,
            min_available_nodes=terms.phones,
        )
        super().__init__(average, 0.0, longest_update(terms, size), terms.phones)
        self.terms, self.size, self.replies = terms, size, list[int]()

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The average of the sound replies; nothing changes where fewer than two are."""
        sound = [reply for reply in replies if self._is_sound(reply)]
        log(INFO, "%s of %s phones took part", len(sound), self.terms.phones)
        if len(sound) < LEAST_PHONES:
            self.replies.append(0)
            return None, None
        self.replies.append(len(sound))
        self.clipping_norm = self._bound(sound)
        for reply in sound:
            self._change_something(reply)
        return super().aggregate_train(server_round, sound)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The mean of the losses that are told."""
        sound = [reply for reply in replies if not reply.has_error() and _is_loss(reply.content.get(METRICS))]
        return super().aggregate_evaluate(server_round, sound) if sound else None

    def _bound(self, sound: list[Message]) -> float:
        """The norm that this round's changes are clipped at: a longer one than most are counts no more than those."""
        shared, longest = values_of(self.current_arrays), longest_update(self.terms, self.size)
        norms = [float(np.linalg.norm(values_of(reply.content[ARRAYS]) - shared)) for reply in sound]
        return min(longest, median_norm(norms) or longest)

    def _change_something(self, reply: Message) -> None:
        """Flower 1.42 divides by the norm of a change when it clips; a phone whose round did not help changes nothing
        where there is no noise."""
        values, shared = values_of(reply.content[ARRAYS]), values_of(self.current_arrays)
        if (values == shared).all():
            reply.content[ARRAYS] = record_of(values + np.maximum(np.spacing(np.abs(values)), np.float32(1e-12)))

    def _is_sound(self, reply: Message) -> bool:
        """Whether it holds one vector of the right length, of finite numbers, that counts as one example."""
        if reply.has_error() or set(reply.content) != {ARRAYS, METRICS}:
            return False
        arrays, metrics = reply.content[ARRAYS], reply.content[METRICS]
        if not isinstance(arrays, ArrayRecord) or not isinstance(metrics, MetricRecord) or set(arrays) != {B}:
            return False
        if dict(metrics) != {EXAMPLES: 1}:
            return False
        values = values_of(arrays)
        return values.shape == (self.size,) and values.dtype == np.float32 and bool(np.isfinite(values).all())


def _is_loss(metrics: object) -> bool:
    if not isinstance(metrics, MetricRecord) or set(metrics) != {EXAMPLES, LOSS}:
        return False
    loss = metrics[LOSS]
    return metrics[EXAMPLES] == 1 and isinstance(loss, float) and 0 <= loss < 100
