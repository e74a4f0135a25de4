"""Conversations of several sessions over one runtime: nobody's answer continues another's conversation."""

from dataclasses import replace

import pytest
from idletune.conversation import Conversation, Conversations
from idletune.runtime import Runtime
from loop import SETTINGS


@pytest.fixture
def runtime(tiny_path, home):
    settings = replace(SETTINGS, temperature=0.0, seed=3)
    with Runtime(home, tiny_path, settings, sequences=2) as runtime:
        yield runtime


def test_a_session_is_answered_as_if_it_were_alone(runtime):
    alone = [runtime.chat(text, session="a") for text in ("one", "two", "three")]
    runtime.conversations.end("a")
    between = []
    for text in ("one", "two", "three"):
        between.append(runtime.chat(text, session="a"))
        runtime.chat(f"something else, {text}", session="b")
        runtime.chat("what the host says")
    assert [reply.tokens for reply in between] == [reply.tokens for reply in alone]
    assert [reply.prompt_tokens for reply in between] == [reply.prompt_tokens for reply in alone]


def test_a_new_conversation_is_one_sessions_alone(runtime):
    runtime.chat("one", session="a"), runtime.chat("two", session="b"), runtime.chat("three")
    runtime.new_conversation("a")
    histories = [runtime.conversations.of(session).history for session in ("a", "b", "")]
    assert [[turn["content"] for turn in history[:1]] for history in histories] == [[], ["two"], ["three"]]


def test_the_sets_of_an_exchange_are_its_sessions(runtime):
    kept = runtime.observe_exchange("what is bread?", "a loaf", session="a").admission.id
    assert runtime.conversations.is_from("a", kept)
    assert not runtime.conversations.is_from("b", kept) and not runtime.conversations.is_from("", kept)
    runtime.new_conversation("a")
    assert runtime.conversations.is_from("a", kept), "it is still this session's"


def test_conversations_are_bounded_and_the_one_unused_longest_goes():
    conversations = Conversations(most=3)
    for session in "abc":
        conversations.of(session).history.append({"role": "user", "content": session})
    conversations.of("a"), conversations.of("d")
    assert [len(conversations.of(session).history) for session in "acb"] == [1, 1, 0] and len(conversations) == 3


def test_what_a_conversation_remembers_of_its_sets_is_bounded():
    conversation = Conversation()
    for id in range(3000):
        conversation.keep(id)
    conversation.keep(None)
    assert len(conversation.kept) == 1000 and 2999 in conversation.kept


def test_all_conversations_begin_anew_together():
    conversations = Conversations()
    for session in ("a", ""):
        conversations.of(session).history, conversations.of(session).few_shot = [{"role": "user"}], [1]
    conversations.begin_anew()
    assert all(not conversations.of(s).history and not conversations.of(s).few_shot for s in ("a", ""))
