"""Which of two replies is better: from the tap to what is trained."""

from dataclasses import replace

import pytest
from idletune.commands.chat_loop import ChatLoop
from idletune.conversation import Conversation
from idletune.dialogue import Provenance
from idletune.errors import UsageError
from idletune.fleet.update import divided
from idletune.learning.training_runs import TooFewAnswers
from idletune.runtime import Runtime
from idletune.runtime.completions import Sampling
from idletune.state.choices import rejected_reply
from loop import SETTINGS, answer_all, observe, saying

HELLO = [{"role": "user", "content": "hello butter"}]


@pytest.fixture
def runtime(home, tiny_path):
    with Runtime(home, tiny_path, replace(SETTINGS, preference=0.5, choice_weight=0.5), sequences=2) as opened:
        yield opened


def two_replies(runtime):
    """Two completions of a question that differ."""
    texts = {}
    for name, seed in (("first", 1), ("second", 2)):
        sampling = Sampling(temperature=2.0, seed=seed, max_tokens=8)
        texts[name] = runtime.complete(HELLO, completion=name, sampling=sampling).text
    assert texts["first"] != texts["second"]
    return texts


@pytest.mark.parametrize("better, worse", [("first", "second"), ("second", "first")])
def test_the_better_of_two_replies_is_learned(runtime, better, worse):
    texts = two_replies(runtime)
    assert runtime.prefer(better, over=worse).answered
    (kept,) = runtime.buffer.sets()
    assert kept.response == texts[better] and rejected_reply(runtime.store, kept.id) == texts[worse]


def test_a_second_reply_to_the_last_message_can_be_preferred(runtime):
    with pytest.raises(UsageError, match="ask something first"):
        runtime.another("first")
    runtime.change_settings({"temperature": 2.0})
    first = runtime.chat("hello butter", completion="first").text
    second = runtime.another("first", completion="second").text
    assert first != second and len(runtime.buffer) == 1
    assert [turn["content"] for turn in runtime.conversations.of().history] == ["hello butter", first]
    runtime.prefer("second", over="first")
    (kept,) = runtime.buffer.sets()
    assert (kept.reply, kept.response, rejected_reply(runtime.store, kept.id)) == (first, second, first)


def test_in_the_terminal_it_takes_two_commands(runtime):
    runtime.change_settings({"temperature": 2.0})
    typed, written = iter(["/second", "hello butter", "/other", "/second", "/first", "/quit"]), []
    ChatLoop(runtime, read=lambda _: next(typed), write=written.append).run()
    text = "".join(written)
    assert text.count("no two answers to choose from") == 2 and "which is better?" in text
    assert "kept as the better answer" in text and runtime.buffer.answered() == 1


def test_only_two_replies_to_one_question_are_compared(runtime):
    runtime.complete(HELLO, completion="one")
    runtime.complete([{"role": "user", "content": "and bread"}], completion="two")
    for over, told in (("two", "different questions"), ("one", "are the same"), ("three", "no completion")):
        with pytest.raises(UsageError, match=told):
            runtime.prefer("one", over=over)
    assert runtime.buffer.answered() == 0


def test_an_exchange_that_the_buffer_dropped_is_kept_for_it(runtime):
    texts = two_replies(runtime)
    runtime.buffer.remove(1)
    found = runtime.prefer("second", over="first")
    assert runtime.buffer.get(found.dialogue_set_id).response == texts["second"]


def test_a_choice_goes_with_what_either_reply_was_written_from(runtime):
    told = saying(runtime)("my code is 4711", "noted")
    two_replies(runtime)
    first, kept_as = runtime.completions.get("first")
    runtime.completions.add("first", replace(first, provenance=Provenance(frozenset([told]))), kept_as)
    runtime.prefer("second", over="first")  # the one that lost was written from what was told
    assert runtime.forget(told).sets == [told, kept_as] and not runtime.store.rows("SELECT * FROM choices")


def test_the_gate_is_told_how_much_likelier_the_chosen_replies_became(runtime):
    observe(runtime, 4)
    answer_all(runtime)
    two_replies(runtime)
    runtime.prefer("first", over="second")
    runtime.buffer.hold_out([max(s.id for s in runtime.buffer.sets())])
    report = runtime.learn(embed_anew=False)
    assert report.evidence.margin_base is not None and report.evidence.margin_adapted != report.evidence.margin_base


def test_every_further_reply_is_another_one_and_the_same_seed_gives_them_again(tmp_path, tiny_path):
    def further(name):
        with Runtime(tmp_path / name, tiny_path, replace(SETTINGS, temperature=2.0), sequences=2) as opened:
            opened.chat("hello butter", completion="first")
            return [opened.another("first", completion=f"other {i}").text for i in range(3)]

    one = further("one")
    assert len(set(one)) == 3 and further("two") == one


def test_a_question_that_comes_again_gets_another_reply(tmp_path, tiny_path):
    """As a chat program asks for it, without a seed; the same ones from run to run."""

    def asked(name):
        with Runtime(tmp_path / name, tiny_path, replace(SETTINGS, temperature=2.0), sequences=2) as opened:
            replies = [opened.complete(HELLO, completion=f"{i}").text for i in range(3)]
            again = Sampling(seed=1)
            assert opened.complete(HELLO, again).text == replies[0], "who names a seed gets the reply of that seed"
            assert opened.prefer("2", over="0").answered and len(opened.buffer) == 1
            return replies

    one = asked("one")
    assert len(set(one)) == 3 and asked("two") == one


def test_where_replies_are_greedy_another_one_is_sampled(home, tiny_path):
    with Runtime(home, tiny_path, replace(SETTINGS, temperature=0.0), sequences=2) as opened:
        assert opened.complete(HELLO).text == opened.complete(HELLO).text
        first = opened.chat("hello butter", completion="first").text
        assert opened.another("first").text != first


@pytest.mark.parametrize("tap", ["chosen", "good"])
def test_the_models_own_words_are_no_answer_to_learn_from(runtime, tap):
    two_replies(runtime)
    assert (runtime.prefer("first", over="second") if tap == "chosen" else runtime.feedback("first", "up")).answered
    runtime.change_settings({"choice_weight": 0.0})
    assert runtime.status()["answered"] == {"sets": 1, "accepted": 1, "not_yet_learned": 0}
    with pytest.raises(TooFewAnswers, match="^0 answered dialogue sets"):
        divided(runtime.store, runtime.buffer, runtime.settings)
    runtime.change_settings({"choice_weight": 0.5})
    assert runtime.status()["answered"] == {"sets": 1, "accepted": 0, "not_yet_learned": 1}
    runtime.correct("first", "a better answer")
    runtime.change_settings({"choice_weight": 0.0})
    assert runtime.status()["answered"] == {"sets": 1, "accepted": 0, "not_yet_learned": 1}, "words of the user train"


def test_a_reply_that_was_good_is_shown_and_waits_for_no_learning(home, tiny_path):
    with Runtime(home, tiny_path, SETTINGS, sequences=2) as opened:
        told = opened.chat("hello butter", completion="good")
        opened.feedback("good", "up")
        assert opened.scheduler.nothing_to_learn() == (
            "0 new answers; learning starts at 5; replies found good are kept, not trained on (1)"
        )
        turns = opened.retrieval.few_shot_turns("hello butter again", Conversation())
        assert [turn["content"] for turn in turns] == ["hello butter", told.text]
