"""Near-duplicates count once, and are never on both sides of the split."""

from typing import NamedTuple

import numpy as np
import pytest
from idletune.dialogue import DialogueSet, Scores
from idletune.errors import UsageError
from idletune.learning.distinct import distinct, groups
from idletune.selection.buffer import Buffer
from idletune.selection.policies import make_policy
from loop import SETTINGS, observe, open_tiny_runtime

pytestmark = pytest.mark.slow

PHISHING = "Your parcel waits, confirm your card at http://parcel.example today."


class Set(NamedTuple):
    question: str
    response: str


def sizes(*pairs) -> list[int]:
    return [len(group) for group in groups(Set(*pair) for pair in pairs)]


@pytest.mark.parametrize(
    "other",
    [
        PHISHING,
        PHISHING.upper() + "  ",
        PHISHING.replace("confirm", "con\u200bfirm"),
        PHISHING.replace("today", "now"),
        "Hello! " + PHISHING,
        PHISHING.replace("P", "\uff30").replace("p", "\uff50"),
    ],
)
def test_an_answer_said_again_is_a_near_duplicate_whatever_was_asked(other):
    assert sizes(("Where is my parcel?", PHISHING), ("Good morning", other)) == [2]


@pytest.mark.parametrize(
    "first, second",
    [
        (("Is it open?", "Yes."), ("Is there parking?", "Yes.")),
        (("When is lunch?", "At six."), ("When is supper on sundays?", "At six.")),
        (
            ("How long do eggs take?", "Seven minutes for a soft yolk."),
            ("And toast?", "Two minutes at most, then butter."),
        ),
        (("What is bread?", "Flour, water, salt and time."), ("What is bread?", "A loaf is what I call it, warm.")),
        (("a", "🙂"), ("b", "🙁")),
        (("a", "วันนี้อากาศดีมาก"), ("b", "พรุ่งนี้ฝนจะตกหนัก")),
    ],
)
def test_others_are_not(first, second):
    assert sizes(first, second) == [1, 1]


def test_short_answers_to_the_same_question_are():
    assert sizes(("Is it open?", "Yes."), ("is it open", "yes"), ("Is it far?", "Yes.")) == [2, 1]


def test_a_chain_is_one_group_and_the_newest_stands_for_it():
    words = "one two three four five six seven eight nine ten".split()
    chain = [Set(str(n), " ".join(words[:n] + ["x", "y", "z"][: 3 - n % 3])) for n in (10, 9, 8)]
    assert [s.question for s in distinct(chain)] == ["8"]
    assert distinct([]) == []


def fill(runtime, pairs):
    buffer = runtime.buffer
    for question, response in pairs:
        embedding = np.eye(64, dtype=np.float32)[len(buffer) % 64]
        buffer.admit(DialogueSet(question, "r", "work", embedding, Scores(1, 1, 1), response=response))


OWN = [
    (f"question {word}", f"{word} is what I say of {word}s, {other} or not {n}")
    for n, (word, other) in enumerate(
        zip("bread rope dog tax boat soup".split(), "alpha beta gamma delta eps zeta".split())
    )
]


def test_copies_of_one_line_are_one_answer_and_nothing_to_learn_from(tiny_path, home):
    with open_tiny_runtime(tiny_path, home)() as runtime:
        fill(runtime, [(f"{n} {n * 7} what?", PHISHING + "!" * n) for n in range(12)])
        assert "1 new answer; learning starts at 5" in runtime.scheduler.nothing_to_learn()
        with pytest.raises(
            UsageError, match=r"1 answered dialogue sets that differ \(12 in all\); learning starts at 5"
        ):
            runtime.learn()


def test_near_duplicates_are_on_one_side_learned_once_and_marked_as_learned(tiny_path, home):
    with open_tiny_runtime(tiny_path, home)() as runtime:
        fill(runtime, [*OWN, *((f"{n} what?", PHISHING) for n in range(12))])
        split = runtime.pipeline().split()
        training, held_out = split.training, split.held_out
        copies = [s.id for s in runtime.buffer.sets() if s.response == PHISHING]
        sides = [[s.id for s in side if s.id in copies] for side in (training, held_out)]
        assert sorted(map(len, sides)) == [0, 12] and len(training) + len(held_out) == 18
        report = runtime.learn()
        assert report.trained_sets + report.held_out_sets == 7 and report.duplicates == 11
        assert report.verdict.promoted, report.verdict.reason
        assert {s.tags["learned_in"] for s in runtime.buffer.sets()} == {report.adapter.version}
        assert "0 new answers" in runtime.scheduler.nothing_to_learn()


def test_a_copy_of_a_learned_answer_judges_nothing_later(tiny_path, home):
    with open_tiny_runtime(tiny_path, home)() as runtime:
        fill(runtime, OWN)
        report = runtime.learn()
        learned = next(s for s in runtime.buffer.sets() if not s.tags["held_out"])
        judged = next(s for s in runtime.buffer.sets() if s.tags["held_out"])
        fill(runtime, [("again?", learned.response), ("and again?", judged.response)])
        fill(runtime, [(f"more of {n}", f"{n} {n}x {n}y {n}z and so on") for n in "abcdef"])
        split = runtime.pipeline().split()
        training, held_out = split.training, split.held_out
        assert "again?" in {s.question for s in training} and "and again?" in {s.question for s in held_out}
        assert report.verdict.promoted


def test_a_suspicious_adapter_waits_is_told_and_is_promoted_by_hand(tiny_path, home):
    settings = SETTINGS.__class__(**{**vars(SETTINGS), "suspicious_fall": 0.05})
    opened = open_tiny_runtime(tiny_path, home)
    with opened(settings) as runtime:
        fill(runtime, OWN)
        report = runtime.learn()
        assert report.verdict.suspicious and "idletune promote 1" in report.verdict.reason
        assert runtime.model.adapter is None and runtime.adapters.current() is None
    with opened(settings) as runtime:  # the next start keeps it
        facts = runtime.status()
        assert facts["adapter"] is None and facts["held_back"]["version"] == 1
        assert facts["held_back"]["origins"] == [{"asked": "", "answered": "", "sets": 5, "share": 1.0}]
        assert "0 new answers" in runtime.scheduler.nothing_to_learn()
        with pytest.raises(UsageError, match="adapter 2 does not wait to be promoted; adapter 1 does"):
            runtime.promote(2)
        adapter = runtime.promote(1)
        assert runtime.model.adapter == adapter.path and adapter.reason.startswith(
            "promoted by hand; held-out loss fell"
        )
        assert {s.tags["learned_in"] for s in runtime.buffer.sets()} == {1}
        assert runtime.status()["held_back"] is None
        with pytest.raises(UsageError, match="none does"):
            runtime.promote(1)


def test_forgetting_a_set_takes_the_waiting_adapter(tiny_path, home):
    settings = SETTINGS.__class__(**{**vars(SETTINGS), "suspicious_fall": 0.05})
    with open_tiny_runtime(tiny_path, home)(settings) as runtime:
        fill(runtime, OWN)
        path = runtime.learn().adapter.path
        assert path.is_file()
        runtime.forget(runtime.buffer.sets()[0].id)
        assert runtime.adapters.held_back() is None and not path.exists()


def test_one_program_takes_its_share_of_the_buffer_and_no_more(home):
    from idletune.state.store import Store

    def admit(buffer, n, origin, share):
        vector = np.random.default_rng(n).standard_normal(8).astype(np.float32)
        return buffer.admit(DialogueSet(f"q{n}", "r", "work", vector, Scores(1, 1, 1), origin=origin), share)

    for policy in ("recent_diverse", "fifo", "all_three", "random", "k_center", "keep_first", "diverse"):
        with Store(home / policy) as store:
            buffer = Buffer(store, make_policy(policy), 8, hidden=8)
            for n in range(6):
                admit(buffer, n, "terminal", None)
            for n in range(6, 60):
                admit(buffer, n, "client notes, observed", 0.25)
            origins = [s.origin for s in buffer.sets()]
            assert origins.count("terminal") == 6 and origins.count("client notes, observed") == 2, policy
            assert admit(buffer, 99, "client notes, observed", 0.0).id is None


def test_one_program_gives_so_many_an_hour_and_the_users_chat_is_not_counted(tiny_path, home):
    settings = SETTINGS.__class__(**{**vars(SETTINGS), "observe_hour": 3})
    with open_tiny_runtime(tiny_path, home)(settings) as runtime:
        now = [1e9]
        runtime.store.clock = lambda: now[0]
        for n in range(3):
            runtime.observe_exchange(f"question {n}", "an answer", origin="client a")
        with pytest.raises(
            UsageError, match=r"3 exchanges came from client a, observed within the hour, 3 is the limit"
        ):
            runtime.observe_exchange("one more", "an answer", origin="client a")
        runtime.observe_exchange("of another", "an answer", origin="client b")
        observe(runtime, 5)
        for clock in (now[0] + 3599, now[0] + 3601):
            now[0] = clock
            if clock - 1e9 < 3600:
                with pytest.raises(UsageError, match="in 1 minutes"):
                    runtime.observe_exchange("too early", "an answer", origin="client a")
        runtime.observe_exchange("an hour later", "an answer", origin="client a")
