"""Which sets are held out: some on each side, groups whole, no set changes sides."""

from dataclasses import replace

import pytest
from idletune.learning.answered import AnsweredSet, answered_sets, weightless
from idletune.learning.stages.split import hold_out, judges, split
from idletune.learning.training_runs import TooFewAnswers, count_answers
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.settings import Settings
from idletune.state.run_records import open_run
from idletune.state.store import Store
from loop import SETTINGS

COLORS = "amber blue coral denim ebony fawn gold hazel ivory jade".split()


def answered(count, held_out=(), learned=()):
    """Sets of which no two are near-duplicates; what was held out or learned is known to adapter 1."""
    return [
        AnsweredSet(
            id=n,
            question=f"which {COLORS[n]}?",
            response=f"{COLORS[n]} is what {n} likes {n}x {n}y",
            origin="",
            answer_origin="",
            held_out=n in held_out,
            learned_in=1 if n in held_out or n in learned else None,
        )
        for n in range(count)
    ]


def test_a_share_is_held_out_and_never_fewer_than_one():
    assert len(hold_out(answered(10), 0.3)) == 3
    assert len(hold_out(answered(5), 0.01)) == 1


def test_what_judged_once_judges_again_and_what_was_learned_never_does():
    held_out = hold_out(answered(10, held_out={4}, learned={0, 1, 2, 3}), 0.3)
    assert 4 in held_out and not held_out & {0, 1, 2, 3} and len(held_out) == 3


def test_both_sides_need_some():
    with pytest.raises(TooFewAnswers, match="learning starts at 5"):
        hold_out(answered(4), 0.3)
    with pytest.raises(TooFewAnswers, match="of 6 answers 0 may judge"):
        hold_out(answered(6, learned=set(range(6))), 0.3)


def test_copies_are_on_one_side():
    sets = answered(6)
    copies = [sets[0]._replace(id=n) for n in range(6, 12)]
    held_out = hold_out([*sets, *copies], 0.5)
    assert {0, *range(6, 12)} <= held_out or not held_out & {0, *range(6, 12)}


def test_given_answers_judge_before_chosen_ones():
    """In the share that they would without the choices; these all train."""
    chosen = set(range(6))
    assert hold_out(answered(10), 0.5, chosen) == {6, 8}
    assert len(hold_out(answered(10), 0.5, chosen, with_accepted=True)) == 5
    assert len(hold_out(answered(10), 0.3, set(range(10)))) == 3, "where nothing was given, chosen ones judge"
    assert hold_out(answered(10, learned={6, 7, 8, 9}), 0.3, chosen) <= chosen


def test_a_choice_that_was_held_out_stays_so_and_judges_no_loss(runtime):
    """Given answers came since: they judge."""
    runtime.queue.choose(3, "chosen", "lost", "")
    runtime.buffer.hold_out([3])
    held_out = split(runtime.store, runtime.buffer, replace(SETTINGS, choice_weight=0.5)).held_out
    assert 3 in {s.id for s in held_out} and len(held_out) == 3
    assert {s.id for s in judges(runtime.store, held_out)} == {s.id for s in held_out} - {3}
    only = [s for s in held_out if s.id == 3]
    assert judges(runtime.store, only) == only


def test_a_choice_that_weighs_nothing_takes_no_part(runtime):
    """It trains nothing, judges nothing and is no reason to begin; nor does a reply that was good."""
    given = len(answered_sets(runtime.buffer))
    runtime.queue.choose(3, "chosen", "lost", "")
    runtime.queue.answer_set(4, "good", "", accepted=True)
    parts = runtime.pipeline().split()
    assert not {3, 4} & set(parts.all_ids) and len(parts.all_ids) == given - 2
    assert weightless(runtime.store, SETTINGS) == {3, 4}
    assert weightless(runtime.store, replace(SETTINGS, choice_weight=0.5)) == set()
    assert count_answers(runtime.store, 0, {3})[1] == count_answers(runtime.store, 0)[1] - 1


def test_too_few_answers_begin_no_run(tmp_path):
    with Store(tmp_path / "home") as store:
        with pytest.raises(TooFewAnswers):
            split(store, Buffer(store, make_policy("fifo"), 8, hidden=4), Settings())
        assert open_run(store) is None
