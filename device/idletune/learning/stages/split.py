"""Stage split: which answered sets are trained on, and which are held out to judge the adapter by."""

from dataclasses import dataclass

from ...selection.buffer import Buffer
from ...state.copies import sets_sent
from ...state.run_records import TrainingRun, begin_run, open_run
from ...state.store import Store
from ..answered import AnsweredSet, answered_sets, ids_of
from ..distinct import distinct, groups
from ..training_runs import MIN_ANSWERS_TO_TRAIN, TooFewAnswers


@dataclass(frozen=True)
class Split:
    """The sets of a training run, near-duplicates included. Near-duplicates are on the same side."""

    run: TrainingRun
    training: list[AnsweredSet]
    held_out: list[AnsweredSet]

    @property
    def all_ids(self) -> list[int]:
        return ids_of(self.training + self.held_out)

    def distinct(self) -> "Split":
        """One of each group of near-duplicates."""
        return Split(self.run, distinct(self.training), distinct(self.held_out))


def split(store: Store, buffer: Buffer, held_out_share: float) -> Split:
    """The sets of the open run, or of a new one. TooFewAnswers when a side would have none."""
    answered = answered_sets(buffer)
    by_id = {s.id: s for s in answered}
    run = open_run(store)
    # Given up where a set is gone, or nothing was held out, as earlier versions could begin one.
    if run and not (run.held_out and by_id.keys() >= run.sets):
        run.abandon()
        run = None
    if run is None:
        held_out = hold_out(may_judge(store, answered), held_out_share)
        training = [s.id for s in answered if s.id not in held_out]
        buffer.hold_out(training, False)
        buffer.hold_out(held_out)
        run = begin_run(store, training, [s.id for s in answered if s.id in held_out])
    return Split(run, [by_id[id] for id in run.training], [by_id[id] for id in run.held_out])


def may_judge(store: Store, answered: list[AnsweredSet]) -> list[AnsweredSet]:
    """The same sets; those that an update for a fleet was trained on count as learned: they judge no adapter."""
    sent = sets_sent(store)
    return [s if s.held_out or s.id not in sent else s._replace(learned_in=0) for s in answered]


def hold_out(answered: list[AnsweredSet], share: float) -> set[int]:
    """Ids of the sets to judge by: about `share` of the groups of near-duplicates, each group as a whole.

    A set never changes sides, but for one held out whose near-duplicate was learned from: it judges no more.
    """
    found = groups(answered)
    if len(found) < MIN_ANSWERS_TO_TRAIN:
        alike = f" that differ ({len(answered)} in all)" if len(found) < len(answered) else ""
        raise TooFewAnswers(
            f"{len(found)} answered dialogue sets{alike}; learning starts at {MIN_ANSWERS_TO_TRAIN}: answer more"
        )
    wanted = max(1, round(share * len(found)))
    # Sets already learned from may not judge a later adapter: their answers are known to the earlier one.
    open_ = [group for group in found if not any(s.is_learned for s in group)]
    held_out = [group for group in open_ if any(s.held_out for s in group)]
    fresh = [group for group in open_ if not any(s.held_out for s in group)]
    missing = max(0, wanted - len(held_out))
    held_out += fresh[:: max(1, len(fresh) // missing)][:missing] if missing else []
    if not 0 < len(held_out) < len(found):
        raise TooFewAnswers(
            f"of {len(found)} answers {len(held_out)} may judge an adapter and {len(found) - len(held_out)} train"
            " it; both need some: answer more"
        )
    return {s.id for group in held_out for s in group}
