"""The prompts: which, when, how many a day, and that an answer is never lost or taken twice."""

import os
import subprocess
import sys
import time
from datetime import datetime

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores
from idletune.errors import UsageError
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from idletune.state.annotation import AnnotationQueue, question_hash
from idletune.state.store import Store

HIDDEN = 4


@pytest.fixture(autouse=True)
def berlin():
    """A zone with summer time, spelled out so that no zone database is needed."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


def at(hour, minute=0, day=10, month=3):
    return datetime(2026, month, day, hour, minute).timestamp()


class Clock:
    def __init__(self):
        self.now = at(12)

    def __call__(self):
        return self.now


class World:
    """A store, a buffer and a queue that share a fake clock."""

    def __init__(self, home, **options):
        self.home, self.clock, self.options = home, Clock(), options
        self.open()

    def open(self):
        self.store = Store(self.home, clock=self.clock)
        self.buffer = Buffer(self.store, make_policy("fifo"), capacity=8, hidden=HIDDEN)
        self.queue = AnnotationQueue(self.store, clock=self.clock, **self.options)

    def restart(self):
        self.store.close()
        self.open()

    def add(self, idd=0.5, question=None, reply="the reply"):
        question = question or f"question {self.store.counter('seen')}"
        embedding = np.eye(HIDDEN, dtype=np.float32)[0]
        return self.buffer.admit(DialogueSet(question, reply, "work", embedding, Scores(0.5, 0.5, idd))).id

    def ask(self):
        self.queue.refill()
        return self.queue.next()


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(**options):
        worlds.append(World(tmp_path / "home", **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.store.close()


@pytest.fixture
def world(make_world):
    return make_world()


def test_refill_asks_about_each_set_once(world):
    world.add()
    world.add()
    assert world.queue.refill() == 2
    assert world.queue.refill() == 0
    world.add()
    assert world.queue.refill() == 1


def test_a_set_that_came_with_its_response_is_not_asked_about(world):
    embedding = np.eye(HIDDEN, dtype=np.float32)[0]
    scores = Scores(0.5, 0.5, 0.5)
    world.buffer.admit(DialogueSet("q", "r", "work", embedding, scores, response="so"))
    assert world.queue.refill() == 0


def test_the_most_worthwhile_comes_first_then_the_newest(make_world):
    world = make_world(daily_limit=9)
    low, old, new = world.add(0.2), world.add(0.7), world.add(0.7)
    world.queue.refill()
    best = world.add(0.9)  # queued later, and still first
    world.queue.refill()
    assert [prompt.dialogue_set_id for prompt in world.queue.pending()] == [best, new, old, low]
    order = []
    while prompt := world.queue.next():
        order.append(prompt.dialogue_set_id)
        world.queue.dismiss(prompt.id)
    assert order == [best, new, old, low]


def test_a_prompt_says_what_to_judge(world):
    id = world.add(question="Why?", reply="Because.")
    prompt = world.ask()
    assert (prompt.dialogue_set_id, prompt.question, prompt.reply) == (id, "Why?", "Because.")
    assert (prompt.state, prompt.asked_at) == ("shown", world.clock.now)
    assert world.queue.pending() == [prompt]


def test_accept_makes_the_reply_the_response(world):
    id = world.add(reply="fine")
    assert world.queue.accept(world.ask().id) == id
    kept = world.buffer.get(id)
    assert (kept.response, kept.tags["answered_at"]) == ("fine", world.clock.now)
    assert world.queue.pending() == [] and world.queue.refill() == 0


def test_edit_makes_the_text_the_response(world):
    id = world.add()
    assert world.queue.edit(world.ask().id, "  better \n") == id
    assert world.buffer.get(id).response == "better"
    assert world.buffer.get(id).reply == "the reply"


def test_dismiss_keeps_the_set_and_asks_no_more(world):
    id = world.add()
    world.queue.dismiss(world.ask().id)
    assert world.buffer.get(id).response is None
    assert world.ask() is None


@pytest.mark.parametrize("text", ["", "  \n", None, 7])
def test_an_empty_edit_is_refused_and_the_prompt_waits_on(world, text):
    world.add()
    prompt = world.ask()
    with pytest.raises(UsageError, match="empty answer"):
        world.queue.edit(prompt.id, text)
    assert world.queue.next() == prompt


def test_an_edit_has_the_replys_place_in_the_bin(make_world):
    question = "q" * 10
    world = make_world(bin_bytes=6 * HIDDEN + 10 + 20)
    id = world.add(question=question, reply="r" * 15)
    prompt = world.ask()
    with pytest.raises(UsageError, match="55 bytes .* 54 bytes of a bin"):
        world.queue.edit(prompt.id, "x" * 21)
    assert world.buffer.get(id).response is None
    world.queue.edit(prompt.id, "x" * 20)
    assert world.buffer.get(id).response == "x" * 20


def test_half_a_character_is_refused(world):
    world.add()
    with pytest.raises(UsageError, match="half a character"):
        world.queue.edit(world.ask().id, "\ud83d")


def test_an_empty_reply_cannot_be_accepted(world):
    world.add(reply=" ")
    with pytest.raises(UsageError, match="empty; edit or dismiss"):
        world.queue.accept(world.ask().id)


ANSWERS = {
    "accepted": lambda queue, id: queue.accept(id),
    "edited": lambda queue, id: queue.edit(id, "text"),
    "dismissed": lambda queue, id: queue.dismiss(id),
    "never": lambda queue, id: queue.never_ask(id),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("limit", [0, 5])
def test_a_prompt_that_was_not_shown_cannot_be_answered(make_world, limit, answer):
    world = make_world(daily_limit=limit)
    id = world.add()
    world.queue.refill()
    if not limit:
        assert world.queue.next() is None
    with pytest.raises(UsageError, match="was not shown yet"):
        answer(world.queue, world.queue.pending()[0].id)
    assert world.buffer.get(id).response is None and world.queue.pending()[0].state == "pending"


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_changed_since_it_was_shown_cannot_be_answered(world, answer):
    id = world.add(reply="what was shown")
    prompt = world.ask()
    world.store.db.execute("UPDATE dialogue_sets SET reply = 'another' WHERE id = ?", (id,))
    with pytest.raises(UsageError, match="is not what was shown"):
        answer(world.queue, prompt.id)
    assert world.buffer.get(id).response is None
    again = world.queue.next()
    assert (again.id, again.reply, again.asked_at) == (prompt.id, "another", prompt.asked_at)
    assert again.shown != prompt.shown and world.queue.asked_today() == 1
    answer(world.queue, prompt.id)


def test_an_answer_to_an_earlier_showing_is_not_taken_for_one_to_the_last(world):
    id = world.add(reply="what was shown")
    stale = world.ask()
    world.store.db.execute("UPDATE dialogue_sets SET reply = 'another' WHERE id = ?", (id,))
    fresh = world.queue.next()
    for verdict in (world.queue.accept, world.queue.dismiss, world.queue.never_ask):
        with pytest.raises(UsageError, match="is not what was shown"):
            verdict(stale.id, shown=stale.shown)
    with pytest.raises(UsageError, match="is not what was shown"):
        world.queue.edit(stale.id, "better", shown=stale.shown)
    assert world.queue.accept(fresh.id, shown=fresh.shown) == id and world.buffer.get(id).response == "another"


def test_a_prompt_shown_by_an_earlier_version_is_shown_again_first(world):
    world.add()
    prompt = world.ask()
    world.store.db.execute("UPDATE prompts SET shown = NULL")
    with pytest.raises(UsageError, match="is not what was shown"):
        world.queue.accept(prompt.id)
    assert world.queue.next() == prompt and world.queue.accept(prompt.id)


@pytest.mark.parametrize("ended", ["answered", "deleted"])
def test_no_digest_stays_behind(world, ended):
    id = world.add()
    prompt = world.ask()
    assert prompt.shown
    world.queue.dismiss(prompt.id) if ended == "answered" else world.buffer.remove(id)
    assert world.store.rows("SELECT shown FROM prompts")[0]["shown"] is None


def test_each_reader_has_its_own_next_prompt(make_world):
    world = make_world(daily_limit=2)
    mine, others = world.add(0.1), world.add(0.9)
    world.add(0.5)
    world.queue.refill()
    first = world.queue.next(wanted=lambda id: id == mine)
    assert first.dialogue_set_id == mine
    assert world.queue.next(wanted=lambda id: False) is None and world.queue.asked_today() == 1
    assert world.queue.next(wanted=lambda id: id == others).dialogue_set_id == others
    assert world.queue.next(wanted=lambda id: id not in (mine, others)) is None, "enough for today"
    assert world.queue.next(wanted=lambda id: id == mine) == first


@pytest.mark.parametrize("second", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("state", ANSWERS)
def test_an_answered_prompt_cannot_be_answered_again(world, state, second):
    world.add()
    prompt = world.ask()
    ANSWERS[state](world.queue, prompt.id)
    before = [tuple(row) for row in world.store.rows("SELECT * FROM dialogue_sets")]
    with pytest.raises(UsageError, match=rf"answered already \({state}\)"):
        second(world.queue, prompt.id)
    assert [tuple(row) for row in world.store.rows("SELECT * FROM dialogue_sets")] == before


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("prompt_id", [0, 77, -1, 2**70, None, "x"])
def test_unknown_prompts(world, answer, prompt_id):
    with pytest.raises(UsageError, match="is not known"):
        answer(world.queue, prompt_id)


def test_a_prompt_whose_set_was_deleted(world):
    id = world.add()
    prompt = world.ask()
    world.buffer.remove(id)
    with pytest.raises(UsageError, match="lost its dialogue set"):
        world.queue.accept(prompt.id)
    assert world.queue.next() is None and world.queue.pending() == []


def test_never_ask_removes_the_set_and_stays_in_force(world):
    id = world.add(question="My diary?")
    world.queue.never_ask(world.ask().id)
    with pytest.raises(UsageError):
        world.buffer.get(id)
    world.restart()
    world.add(question=" my  DIARY?\n")
    assert world.ask() is None
    world.add(question="My garden?")
    assert world.ask().question == "My garden?"


def test_never_ask_takes_waiting_sets_with_the_same_question_along(world):
    world.add(question="My diary?")
    world.add(question="my diary?")
    other = world.add(question="My garden?")
    world.queue.refill()
    world.queue.never_ask(world.queue.next(wanted=lambda id: id != other).id)
    assert [kept.id for kept in world.buffer.sets()] == [other]
    assert [prompt.dialogue_set_id for prompt in world.queue.pending()] == [other]


def test_never_ask_keeps_no_text(world):
    world.add(question="My diary?")
    world.queue.never_ask(world.ask().id)
    assert "diary" not in "\n".join(world.store.db.iterdump())


def test_the_hash_of_a_question():
    assert question_hash("Café  au\nlait?") == question_hash("CAFE\u0301 AU LAIT?")
    assert question_hash("Why?") != question_hash("Why")
    question_hash("half \ud83d")


def ask_all(world):
    """Show and dismiss until the queue gives no more."""
    asked = 0
    while prompt := world.queue.next():
        world.queue.dismiss(prompt.id)
        asked += 1
    return asked


def test_the_daily_limit_holds_for_a_calendar_day(make_world):
    world = make_world(daily_limit=3, quiet_from=0, quiet_until=0)
    for _ in range(8):
        world.add()
    world.queue.refill()
    world.clock.now = at(23, 30)
    assert ask_all(world) == 3 and world.queue.asked_today() == 3
    world.clock.now = at(23, 59)
    assert ask_all(world) == 0
    world.clock.now = at(0, 1, day=11)
    assert world.queue.asked_today() == 0
    assert ask_all(world) == 3
    assert world.queue.asked_today(at(12)) == 3, "yesterday's"


@pytest.mark.parametrize("day, month", [(29, 3), (25, 10)], ids=["23 hours", "25 hours"])
def test_the_days_when_summer_time_begins_and_ends(make_world, day, month):
    world = make_world(daily_limit=2, quiet_from=0, quiet_until=0)
    for _ in range(8):
        world.add()
    world.queue.refill()
    world.clock.now = at(0, 1, day, month)
    assert ask_all(world) == 2
    world.clock.now = at(23, 59, day, month)
    assert ask_all(world) == 0
    world.clock.now += 120
    assert ask_all(world) == 2


def test_the_limit_survives_a_restart(make_world):
    world = make_world(daily_limit=2)
    for _ in range(8):
        world.add()
    world.queue.refill()
    assert ask_all(world) == 2
    world.restart()
    assert ask_all(world) == 0


@pytest.mark.parametrize("gone", ["replaced", "never", "removed"])
def test_a_set_that_goes_frees_no_place_in_the_limit(make_world, gone):
    world = make_world(daily_limit=1)
    id = world.add()
    prompt = world.ask()
    if gone == "never":
        world.queue.never_ask(prompt.id)
    elif gone == "removed":
        world.buffer.remove(id)
    else:
        world.queue.dismiss(prompt.id)
    for _ in range(9):  # one more than there are bins
        world.add()
    assert id not in [kept.id for kept in world.buffer.sets()]
    assert world.ask() is None and world.queue.asked_today() == 1


def test_a_shown_prompt_is_shown_again_at_no_cost(make_world):
    world = make_world(daily_limit=2)
    world.add(0.5)
    shown = world.ask()
    world.add(0.9)
    world.restart()
    assert world.ask() == shown and world.queue.asked_today() == 1
    world.clock.now = at(12, day=11)
    assert world.ask() == shown and world.queue.asked_today() == 0
    world.queue.accept(shown.id)
    assert world.ask().dialogue_set_id != shown.dialogue_set_id


def test_a_shown_prompt_is_shown_again_when_the_limit_is_reached(make_world):
    world = make_world(daily_limit=1)
    world.add()
    shown = world.ask()
    assert world.queue.next() == shown


def test_a_limit_of_zero_never_asks(world):
    world.add()
    world.add()
    assert world.ask()
    world.queue = AnnotationQueue(world.store, daily_limit=0, clock=world.clock)
    assert world.ask() is None, "not even the one that was shown"


QUIET = [
    ((22, 8), {21: False, 22: True, 23: True, 0: True, 7: True, 8: False, 12: False}),
    ((1, 5), {0: False, 1: True, 4: True, 5: False, 23: False}),
    ((0, 0), {0: False, 12: False, 23: False}),
    ((13, 13), {12: False, 13: False}),
    ((8, 7), {7: False, 8: True, 6: True}),
]


@pytest.mark.parametrize("hours, expected", QUIET, ids=[str(hours) for hours, _ in QUIET])
def test_quiet_hours(make_world, hours, expected):
    world = make_world(quiet_from=hours[0], quiet_until=hours[1])
    world.add()
    world.queue.refill()
    for hour, quiet in expected.items():
        assert (world.queue.next(at(hour)) is None) == quiet, hour
        assert (world.queue.next(at(hour, 59)) is None) == quiet, hour


def test_quiet_hours_cost_nothing_and_answers_are_welcome_in_them(world):
    id = world.add()
    world.queue.refill()
    assert world.queue.next(at(23)) is None and world.queue.asked_today() == 0
    prompt = world.queue.next(at(21))
    assert world.queue.next(at(23)) is None, "not even the one that was shown"
    world.clock.now = at(23)
    assert world.queue.accept(prompt.id) == id


BAD = [{"daily_limit": -1}, {"quiet_from": 24}, {"quiet_until": -1}]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_settings_out_of_range(world, options):
    with pytest.raises(UsageError):
        AnnotationQueue(world.store, **options)


def test_an_answer_is_on_disk_when_the_method_returns(world, tmp_path):
    """Seen by another process, and one SQLite commit with synchronous=FULL stands behind it."""
    world.add()
    prompt = world.ask()
    world.queue.edit(prompt.id, "kept")
    program = (
        "import sys; from idletune.state.store import Store;"
        "print(Store(sys.argv[1]).rows('SELECT response FROM dialogue_sets')[0][0])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "home")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "kept\n"
    assert not world.store.db.in_transaction


def test_an_answer_and_its_prompt_change_together(world, monkeypatch):
    id = world.add()
    prompt = world.ask()
    monkeypatch.setattr(world.queue, "_close", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.queue.accept(prompt.id)
    assert world.buffer.get(id).response is None and world.queue.next() == prompt
