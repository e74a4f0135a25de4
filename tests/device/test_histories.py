"""Histories that a client sends whole: recognized, with what their replies were written from."""

from dataclasses import replace

import pytest
from idletune.dialogue import UNKNOWN, Provenance
from idletune.errors import UsageError
from idletune.runtime import Runtime
from idletune.runtime.histories import Histories, split_messages
from loop import SETTINGS, answer

OF_FIVE = Provenance(frozenset({5}), frozenset(), None)


def turns(*texts):
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def answered(histories, history, question, reply, completion="a", system="", left_out=0):
    """A question that is answered in this history."""
    conversation = histories.conversation(system, history)
    conversation.few_shot = [7]
    conversation.add(question, reply, OF_FIVE, left_out)
    histories.add(system, history, question, reply, conversation, completion)
    return conversation


def test_a_conversation_goes_on_with_its_few_shot_turns_and_its_cut():
    histories = Histories()
    answered(histories, [], "one", "first")
    known = answered(histories, turns("one", "first"), "two", "second", left_out=2)
    again = histories.conversation("", turns("one", " first\n", "two", "second"))
    assert again == known and again.few_shot == [7] and again.left_out == 2 and again.history == turns("two", "second")


def test_a_branch_leaves_the_other_one_as_it_was():
    histories = Histories()
    answered(histories, [], "one", "first")
    answered(histories, turns("one", "first"), "two", "second")
    answered(histories, turns("one", "first"), "three", "third")
    assert histories.conversation("", turns("one", "first")).history == turns("one", "first")
    assert histories.conversation("", turns("one", "first", "two", "second")).history[-1]["content"] == "second"


def test_what_is_left_of_a_history_keeps_its_provenance():
    histories = Histories()
    answered(histories, [], "one", "first")
    edited = histories.conversation("another", turns("hello", "not ours", "one", "first"))
    assert edited.sources == [UNKNOWN, OF_FIVE] and edited.few_shot == [] and len(edited.history) == 4


def test_a_question_is_known_by_all_that_was_said_before():
    histories = Histories()
    answered(histories, [], "one", "first", "a")
    answered(histories, [], "one", "otherwise", "b")
    assert histories.first_completion("", [], " one") == "a"
    assert histories.first_completion("short", [], "one") is None
    assert histories.first_completion("", turns("one", "first"), "one") is None
    assert histories.count_completions("", [], "one ") == 2 and not histories.count_completions("", [], "two")


def test_texts_go_and_what_replies_were_written_from_stays():
    histories = Histories()
    answered(histories, [], "one", "first")
    histories.begin_anew()
    again = histories.conversation("", turns("one", "first"))
    assert again.few_shot == [] and again.sources == [OF_FIVE] and histories.first_completion("", [], "one") == "a"


def test_the_one_unused_longest_goes():
    histories = Histories(most=2)
    for number in range(3):
        answered(histories, [], f"question {number}", "reply")
    assert histories.conversation("", turns("question 0", "reply")).few_shot == []
    assert histories.conversation("", turns("question 2", "reply")).few_shot == [7]


def test_messages_become_what_templates_take():
    def message(role, content):
        return {"role": role, "content": content}

    system, history, question = split_messages(
        [message("user", "a"), message("system", "s"), message("user", "b"), message("assistant", "c"),
         message("system", "t"), message("user", "d")]
    )  # fmt: skip
    assert (system, question) == ("s\n\nt", "d") and history == turns("a\n\nb", "c")
    assert split_messages([message("assistant", "welcome"), message("user", "hello")])[1] == turns("", "welcome")
    for wrong in ([message("system", "s")], turns("a", "b"), [message("user", " ")]):
        with pytest.raises(UsageError, match="the last message is to be the user's"):
            split_messages(wrong)


@pytest.fixture
def runtime(home, tiny_path):
    with Runtime(home, tiny_path, replace(SETTINGS, temperature=0.0), sequences=2) as opened:
        yield opened


def test_a_reply_to_a_history_with_a_forgotten_exchange_is_not_observed(runtime):
    first = runtime.complete(turns("my door code is 4711"))
    assert runtime.buffer.sets()[0].question == "my door code is 4711"
    runtime.forget(1)
    again = runtime.complete(turns("my door code is 4711", first.text, "what is it?"))
    assert "was forgotten meanwhile" in again.unobserved and len(runtime.buffer) == 0


def test_an_accepted_reply_descends_from_what_it_was_written_from(runtime):
    runtime.complete(turns("and butter"))
    answer(runtime, 1, "spread it")
    told = runtime.complete(turns("hello butter"), completion="chatcmpl-mine")
    assert told.provenance.sets == {1}, "the answer was shown"
    assert runtime.feedback("chatcmpl-mine", "up").dialogue_set_id == 2
    assert runtime.preview_forget(1).sets == [1, 2]


def test_a_corrected_reply_is_the_users_own_words(runtime):
    runtime.complete(turns("and butter"))
    answer(runtime, 1, "spread it")
    runtime.complete(turns("hello butter"), completion="chatcmpl-mine")
    runtime.correct("chatcmpl-mine", "a pat of it")
    assert runtime.preview_forget(1).sets == [1] and runtime.preview_forget(1).replies == [2]


def test_a_changed_answer_is_to_be_learned_again(runtime):
    runtime.complete(turns("and butter"), completion="chatcmpl-mine")
    runtime.correct("chatcmpl-mine", "spread it")
    runtime.correct("chatcmpl-mine", "leave it")
    (kept,) = runtime.buffer.sets()
    assert kept.response == "leave it" and kept.tags["learned_in"] is None
    with pytest.raises(UsageError, match="no completion"):
        runtime.correct("chatcmpl-other", "x")
