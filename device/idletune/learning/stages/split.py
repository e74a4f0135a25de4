"""Stage split: which answered sets are trained on, and which are held out to judge the adapter by.

An answer that the user gave says what he wants; a reply of the model that he accepted, as good or as the better of two,
is only near to it. So given answers judge, in the share that is set, and an accepted one judges the loss only where no
given one may. Where a preference is trained, a share of those is held out as well, for the log-odds alone
(Evidence.margin_*).
"""

from collections.abc import Set
from dataclasses import dataclass

from ...selection.buffer import Buffer
from ...settings import Settings
from ...state.choices import accepted_sets
from ...state.copies import sets_sent
from ...state.run_records import TrainingRun, begin_run, open_run
from ...state.store import Store
from ..answered import AnsweredSet, ids_of, trainable_sets
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


def split(store: Store, buffer: Buffer, settings: Settings) -> Split:
    """The sets of the open run, or of a new one. TooFewAnswers when a side would have none."""
    answered = trainable_sets(store, buffer, settings)
    by_id = {s.id: s for s in answered}
    run = open_run(store)
    # Given up where a set is gone, or nothing was held out, as earlier versions could begin one.
    if run and not (run.held_out and by_id.keys() >= run.sets):
        run.abandon()
        run = None
    if run is None:
        open_, accepted = may_judge(store, answered), accepted_sets(store)
        held_out = hold_out(open_, settings.held_out_share, accepted, with_accepted=settings.preference > 0)
        training = [s.id for s in answered if s.id not in held_out]
        buffer.hold_out(training, False)
        buffer.hold_out(held_out)
        run = begin_run(store, training, [s.id for s in answered if s.id in held_out])
    return Split(run, [by_id[id] for id in run.training], [by_id[id] for id in run.held_out])


def may_judge(store: Store, answered: list[AnsweredSet]) -> list[AnsweredSet]:
    """The same sets; those that an update for a fleet was trained on count as learned: they judge no adapter."""
    sent = sets_sent(store)
    return [s if s.held_out or s.id not in sent else s._replace(learned_in=0) for s in answered]


def judges(store: Store, held_out: list[AnsweredSet]) -> list[AnsweredSet]:
    """Of the sets held out, those whose loss judges: the given answers, or the accepted ones where none was given."""
    accepted = accepted_sets(store)
    return [s for s in held_out if s.id not in accepted] or held_out


def hold_out(
    answered: list[AnsweredSet], share: float, accepted: Set[int] = frozenset(), with_accepted: bool = False
) -> set[int]:
    """Ids of the sets to judge by: about `share` of the groups of near-duplicates, each group as a whole.

    Of the groups whose answer was given, at least one where one may judge; of those that are `accepted`, new ones only
    where none of the others may, or where `with_accepted` asks for them. A set never changes sides, but for one
    held out whose near-duplicate was learned from: it judges no more.
    """
    found = groups(answered)
    if len(found) < MIN_ANSWERS_TO_TRAIN:
        alike = f" that differ ({len(answered)} in all)" if len(found) < len(answered) else ""
        raise TooFewAnswers(
            f"{len(found)} answered dialogue sets{alike}; learning starts at {MIN_ANSWERS_TO_TRAIN}: answer more in"
            " your own words"
        )
    taken = [group for group in found if group[-1].id in accepted]  # the newest stands for its group
    given = [group for group in found if group not in taken]
    held_out = _drawn(given, share)
    fill = with_accepted or not held_out
    held_out += _drawn(taken, share) if fill else _held_out(taken)
    if not 0 < len(held_out) < len(found):
        raise TooFewAnswers(
            f"of {len(found)} answers {len(held_out)} may judge an adapter and {len(found) - len(held_out)} train"
            " it; both need some: answer more"
        )
    return {s.id for group in held_out for s in group}


def _drawn(found: list[list[AnsweredSet]], share: float) -> list[list[AnsweredSet]]:
    """About `share` of the groups, at least one where one may judge; those held out before, then others evenly."""
    held_out = _held_out(found)
    fresh = [group for group in _open(found) if group not in held_out]
    missing = max(0, max(1, round(share * len(found))) - len(held_out))
    return held_out + (fresh[:: max(1, len(fresh) // missing)][:missing] if missing else [])


def _open(found: list[list[AnsweredSet]]) -> list[list[AnsweredSet]]:
    """Sets already learned from may not judge a later adapter: their answers are known to the earlier one."""
    return [group for group in found if not any(s.is_learned for s in group)]


def _held_out(found: list[list[AnsweredSet]]) -> list[list[AnsweredSet]]:
    """The groups that judged, or were kept to judge, before."""
    return [group for group in _open(found) if any(s.held_out for s in group)]
