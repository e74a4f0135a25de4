"""What the user and a fleet's client ask of the runtime: join, leave, make an update, take the fleet's adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..fleet.privacy import epsilon
from ..fleet.result import check_result
from ..fleet.terms import Terms, spent_text
from ..fleet.update import Round, judging
from ..learning.adoption import adopt
from ..learning.answered import weightless
from ..learning.cancellation import Cancellation, Cancelled
from ..learning.outcome import Outcome, SliceOutcome
from ..learning.trainers import Trainers
from ..learning.training_runs import MIN_ANSWERS_TO_TRAIN, count_answers
from ..model.base_model import BaseModel
from ..schedule.lock import is_learning, learner_lock
from ..state import fleet_records
from ..state.adapter_records import AdapterVersion
from ..state.copies import sets_sent
from ..state.fleet_records import Membership
from ..state.set_records import any_forgotten
from ..state.store import Store
from .parts import Parts


@dataclass(frozen=True)
class Update:
    """What a round came to: the shared B with this home's change, float32 (m,), or None and why there is none."""

    values: np.ndarray | None
    reason: str
    seconds: float = 0.0


@dataclass(frozen=True)
class FleetMember:
    """This home's part in a fleet: nothing leaves before `join`, and nothing after `leave`."""

    store: Store
    model: BaseModel
    parts: Parts

    def join(self, terms: dict) -> Terms:
        """Join a fleet on these terms, which the user has read (Terms.told). UsageError for impossible ones."""
        accepted = Terms.from_dict(terms)
        if accepted.base_sha256 != self.model.sha256:
            raise UsageError(f"the fleet {accepted.fleet} is of another base model than {self.model.path.name}")
        accepted.lora(self._trainers().shape)  # of a form that this model has
        fleet_records.join(self.store, accepted.to_dict())
        return accepted

    def leave(self) -> bool:
        """Leave at once: no update is made from now on. False where no fleet was joined."""
        return fleet_records.leave(self.store)

    def status(self) -> dict:
        """The fleet's name and terms (empty where none was joined), whether this home would take part in a round now,
        and what all updates so far cost, in words."""
        found, spent = fleet_records.current(self.store), fleet_records.noise_multipliers(self.store)
        terms = Terms.from_dict(found.terms) if found else None
        return {
            "fleet": terms.fleet if terms else "",
            "terms": terms.digest if terms else "",
            "told": terms.told() if terms else "",
            "ready": terms is not None and self._is_ready(terms),
            "updates": len(spent),
            "spent": spent_text(spent, terms.delta if terms else 1e-5),
        }

    def update(
        self,
        terms_digest: str,
        shared: np.ndarray,
        a_sha256: str,
        asked: Callable[[], str] = lambda: "",
        seconds: float = float("inf"),
    ) -> Update:
        """Take part in a round, if the device's state and the settings allow it now (see Scheduler.tick).

        UsageError on other terms than those joined, and where the update would cost more than they allow.
        """
        membership, terms = self._agreed(terms_digest)
        self._check_budget(terms)
        made: list[np.ndarray] = []

        def learn(should_stop: Callable[[], bool]) -> SliceOutcome:
            stop = Cancellation(lambda: should_stop() or self._has_left(membership))
            try:
                made.append(self._round(membership, terms).update(shared, a_sha256, stop))
            except Cancelled:
                return SliceOutcome.unfinished("an update for the fleet")
            return SliceOutcome(Outcome.SHARED, f"made an update for the fleet {terms.fleet}")

        tick = self.parts.scheduler.tick(learn, asked, seconds, self._too_few_answers)
        return Update(made[0] if made else None, tick.reason, tick.seconds)

    def held_out_loss(self, terms_digest: str, shared: np.ndarray, a_sha256: str) -> float:
        """How well a shared adapter fits the held-out answers, rounded to 0.1 nats per token.

        UsageError where the terms do not say that it is told.
        """
        membership, terms = self._agreed(terms_digest)
        if not terms.tell_loss:
            raise UsageError("the fleet's terms do not say that a loss is told; ask for no evaluation")
        with learner_lock(self.store.home):
            return round(self._round(membership, terms).held_out_loss(shared, a_sha256), 1)

    def take(self, path: Path) -> AdapterVersion:
        """Serve the fleet's adapter and let training start from it, if its signature is right and it passes the gate:
        the user's own held-out answers must become more likely than they are now.

        UsageError or DamagedDataError otherwise; then what served before serves.
        """
        found = fleet_records.current(self.store)
        if found is None:
            raise UsageError("no fleet was joined, so there is no key to check a result by; join, or use adopt")
        check_result(Path(path), Terms.from_dict(found.terms))
        knows = [id for id in sorted(sets_sent(self.store)) if not any_forgotten(self.store, [id])]
        with learner_lock(self.store.home):
            s = self.parts.settings
            held_out = judging(self.store, self.parts.buffer, self.model, s)
            return adopt(path, self.model, self.parts.adapters, s, held_out, knows)

    def _agreed(self, terms_digest: str) -> tuple[Membership, Terms]:
        found = fleet_records.current(self.store)
        if found is None:
            raise UsageError("this home is in no fleet; join one first")
        terms = Terms.from_dict(found.terms)
        if terms.digest != terms_digest:
            raise UsageError("the round is on other terms than those you agreed to; leave, read the new ones and join")
        return found, terms

    def _is_ready(self, terms: Terms) -> bool:
        window = self.parts.scheduler.decide(self._too_few_answers)
        return window.open and not is_learning(self.store.home) and self._cost_of_one_more(terms) <= terms.epsilon

    def _cost_of_one_more(self, terms: Terms) -> float:
        """What all updates would cost with one more, whatever fleets the earlier ones were for; 0 without noise."""
        if not terms.noise_multiplier:
            return 0.0
        cost = epsilon([*fleet_records.noise_multipliers(self.store), terms.noise_multiplier], terms.delta)
        return cost / (1 + 1e-6)  # a budget that was made for so many rounds is enough for them

    def _check_budget(self, terms: Terms) -> None:
        """Refuse an update that would cost more than the user agreed to."""
        cost = self._cost_of_one_more(terms)
        if cost > terms.epsilon:
            raise UsageError(
                f"one more update would cost epsilon {cost:.2f} in all, you agreed to {terms.epsilon:g};"
                " this home sends nothing more"
            )

    def _too_few_answers(self) -> str | None:
        _, answered = count_answers(self.store, 0, weightless(self.store, self.parts.settings))
        few = answered < MIN_ANSWERS_TO_TRAIN
        return f"{answered} answers; a round needs {MIN_ANSWERS_TO_TRAIN}" if few else None

    def _has_left(self, membership: Membership) -> bool:
        found = fleet_records.current(self.store)
        return found is None or found.id != membership.id

    def _round(self, membership: Membership, terms: Terms) -> Round:
        parts = self.parts
        settings = terms.settings(parts.settings)
        return Round(self.store, parts.buffer, self.model, self._trainers(terms), settings, membership, terms)

    def _trainers(self, terms: Terms | None = None) -> Trainers:
        settings = terms.settings(self.parts.settings) if terms else self.parts.settings
        return Trainers(self.parts.adapters, self.model, settings)
