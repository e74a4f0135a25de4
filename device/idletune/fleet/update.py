"""A round on this phone: train the shared adapter on the user's answers, judge it, clip it, hide it in noise.

Nothing is kept between rounds but the count of updates: an update is a function of the shared adapter, the answers that
are there now, and noise. A forgotten set is in no later one.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..examples import Example
from ..learning.answered import AnsweredSet, ids_of, trainable_sets
from ..learning.cancellation import Cancellation, Cancelled
from ..learning.distinct import distinct
from ..learning.stages.split import hold_out, judges, may_judge
from ..learning.trainers import Trainers
from ..learning.training_runs import TooFewAnswers
from ..model.base_model import BaseModel
from ..selection.buffer import Buffer
from ..settings import Settings
from ..state import copies
from ..state.choices import accepted_sets
from ..state.fleet_records import Membership, count_update
from ..state.run_records import open_run
from ..state.set_records import any_forgotten
from ..state.store import Store
from .privacy import clipped, noised
from .shared import a_digest, b_mask, b_of, use_b
from .terms import Terms


@dataclass(frozen=True)
class Answers:
    """The answered sets, near-duplicates left out, as a round sees them."""

    training: list[AnsweredSet]
    held_out: list[AnsweredSet]


def divided(store: Store, buffer: Buffer, settings: Settings) -> Answers:
    """The user's answers, in those to train on and those that judge; none that trains nothing.

    TooFewAnswers when there are too few.
    A set that went into an update never judges, and one that judges never goes into one. While a training run is open
    its division stands.
    """
    answered, share = trainable_sets(store, buffer, settings), settings.held_out_share
    held_out = {s.id for s in answered if s.held_out}
    if open_run(store) is None:
        held_out = hold_out(may_judge(store, answered), share, accepted_sets(store))
        buffer.hold_out(held_out)
    training = [s for s in answered if s.id not in held_out]
    return Answers(distinct(training), distinct([s for s in answered if s.id in held_out]))


def judging(store: Store, buffer: Buffer, model: BaseModel, settings: Settings) -> list[Example]:
    """The answers that judge a fleet's adapter: those held out, or all while there are too few to hold any out."""
    try:
        sets = judges(store, divided(store, buffer, settings).held_out)
    except TooFewAnswers:
        sent = copies.sets_sent(store)
        sets = [s for s in trainable_sets(store, buffer, settings) if s.id not in sent]
    return [encoded(model, settings, s) for s in sets]


def encoded(model: BaseModel, settings: Settings, answered: AnsweredSet) -> Example:
    """With the answer alone as label."""
    s = settings
    return model.encode_exchange(answered.question, answered.response, system=s.system, max_tokens=s.example_tokens)


def make_update(
    trainers: Trainers,
    terms: Terms,
    shared: np.ndarray,
    training: list[Example],
    held_out: list[Example],
    cancellation: Cancellation,
) -> np.ndarray:
    """What training changes in the shared B, float32 (m,), clipped; zero where it does not help the held-out answers.

    Raises Cancelled, between two micro-steps. No noise is in it yet: that a round did not help must not show.
    """
    lora = terms.lora(trainers.shape)
    use_b(lora, shared)
    trainer = trainers.trainer_of(lora, training, b_mask(lora))
    before = _mean(trainer.evaluate(held_out))
    if not trainer.run(cancellation.requested).finished:
        raise Cancelled
    cancellation.check()
    after = _mean(trainer.evaluate(held_out))
    change = b_of(lora) - shared
    return clipped(change, terms.clipping_norm) if after < before else np.zeros_like(change)


@dataclass(frozen=True)
class Round:
    """One round of a fleet on an open home. Its methods are for whoever holds the learner's lock."""

    store: Store
    buffer: Buffer
    model: BaseModel
    trainers: Trainers
    settings: Settings
    membership: Membership
    terms: Terms

    def update(self, shared: np.ndarray, a_sha256: str, cancellation: Cancellation) -> np.ndarray:
        """The shared B with this home's clipped and noised change. Cancelled when it was stopped.

        It is counted before it is returned. UsageError where A differs, or a set was forgotten meanwhile.
        """
        check_same_a(self.terms, self.trainers, a_sha256)
        answers = divided(self.store, self.buffer, self.settings)
        training, held_out = ([self._encode(s) for s in sets] for sets in (answers.training, answers.held_out))
        change = make_update(self.trainers, self.terms, shared, training, held_out, cancellation)
        with self.store.transaction():
            if any_forgotten(self.store, ids_of(answers.training + answers.held_out)):
                raise Cancelled
            count_update(self.store, self.membership, self.terms.noise_multiplier)
            copies.record_fleet_update(self.store, self.terms.fleet, ids_of(answers.training + answers.held_out))
        return shared + noised(change, self.terms.noise_multiplier * self.terms.clipping_norm)

    def held_out_loss(self, shared: np.ndarray, a_sha256: str) -> float:
        """Mean loss of the held-out answers under the shared adapter in the trainer, in nats per token."""
        check_same_a(self.terms, self.trainers, a_sha256)
        answers = divided(self.store, self.buffer, self.settings)
        examples = [self._encode(s) for s in answers.held_out]
        lora = self.terms.lora(self.trainers.shape)
        use_b(lora, shared)
        return _mean(self.trainers.trainer_of(lora, examples).evaluate(examples))

    def _encode(self, answered: AnsweredSet) -> Example:
        return encoded(self.model, self.settings, answered)


def check_same_a(terms: Terms, trainers: Trainers, a_sha256: str) -> None:
    """UsageError where the frozen half that this machine makes of the seed is not the fleet's."""
    if a_digest(terms.lora(trainers.shape)) != a_sha256:
        raise UsageError("this phone makes another frozen half of the adapter than the fleet; update IdleTune on both")


def _mean(summed: tuple[float, int]) -> float:
    total, count = summed
    return total / max(1, count)
