"""Answered sets before a message: the nearest ones, as the user answered them, and only those."""

from dataclasses import replace

import numpy as np
import pytest
from idletune.dialogue import TokenEmbeddings
from idletune.model.base_model import Reply
from idletune.selection.retrieval import how_many
from loop import SETTINGS, open_tiny_runtime


@pytest.fixture
def open_runtime(tiny_path, tiny_graphs, home):
    return open_tiny_runtime(tiny_path, tiny_graphs, home)


def fill(runtime):
    """Four sets in four directions; the user answers all but the second."""
    for i in range(4):
        embeddings = np.full((3, 64), 0.01, np.float32)
        embeddings[:, i] = 1
        reply = Reply("its own reply", [1], TokenEmbeddings(embeddings, -embeddings), "end", 4)
        runtime.observe(f"question {i}", reply)
    while (prompt := runtime.next_prompt()) is not None:
        if prompt.question == "question 1":
            runtime.queue.dismiss(prompt.id)
        else:
            runtime.queue.edit(prompt.id, f"what the user says to {prompt.question}")


def toward(*weights):
    vector = np.zeros(64, np.float32)
    vector[: len(weights)] = weights
    return vector[None]


def test_the_nearest_answered_sets_come_as_turns_nearest_last(open_runtime):
    with open_runtime(replace(SETTINGS, retrieve=2, retrieve_tokens=0)) as runtime:
        fill(runtime)
        assert runtime.retrieval.messages(toward(0.5, 0.9, 0.1, 0.2)) == [
            {"role": "user", "content": "question 3"},
            {"role": "assistant", "content": "what the user says to question 3"},
            {"role": "user", "content": "question 0"},
            {"role": "assistant", "content": "what the user says to question 0"},
        ]


def test_what_is_shown_stays_while_the_nearest_is_among_it(open_runtime):
    def shown(*weights):
        return [m["content"] for m in runtime.retrieval.messages(toward(*weights))[::2]]

    with open_runtime(replace(SETTINGS, retrieve=2, retrieve_tokens=0)) as runtime:
        fill(runtime)
        assert shown(0.9, 0, 0.5, 0.1) == ["question 2", "question 0"]
        assert shown(0.5, 0, 0.9, 0.1) == ["question 2", "question 0"]  # as it was read
        assert shown(0.5, 0, 0.1, 0.9) == ["question 0", "question 3"]
        runtime.new_conversation()
        assert shown(0.9, 0, 0.1, 0.5) == ["question 3", "question 0"]
        runtime.forget(runtime.retrieval.nearest(toward(0, 0, 0, 1)[0])[0].id)
        assert shown(0.9, 0, 0.1, 0.5) == ["question 2", "question 0"]


@pytest.mark.parametrize(
    "lengths, least, tokens, count",
    [
        ([90, 90, 90, 90], 3, 0, 3),
        ([90, 90, 90, 90], 3, 200, 3),  # at least so many, however long they are
        ([30, 40, 50, 60, 21, 1], 3, 200, 4),  # the nearest in a row: a short one further off does not jump in
        ([30, 40, 50, 60, 20, 1], 3, 200, 5),
        ([10, 10], 3, 200, 2),
        ([10] * 50, 1, 200, 20),
        ([10] * 50, 0, 200, 0),
    ],
)
def test_short_answers_are_shown_in_greater_number(lengths, least, tokens, count):
    assert how_many(lengths, least, tokens) == count


def test_tokens_are_those_of_the_model(open_runtime):
    with open_runtime(replace(SETTINGS, retrieve=1, retrieve_tokens=0)) as runtime:
        fill(runtime)
        nearest = runtime.retrieval.nearest(toward(0.9, 0, 0.5, 0.1)[0])
        two = sum(len(runtime.model.tokenize(text)) for s in nearest[:2] for text in (s.question, s.response))
        for tokens, shown in ((two - 1, 1), (two, 2)):
            runtime.change_settings({"retrieve_tokens": tokens})
            assert len(runtime.retrieval.messages(toward(0.9, 0, 0.5, 0.1))) == 2 * shown


def read(runtime) -> str:
    """What the model has read and written."""
    return runtime.model.detokenize(runtime.model._cached)


def test_a_chat_reads_them_before_the_conversation(open_runtime):
    with open_runtime(replace(SETTINGS, retrieve=3, system="be brief", seed=3)) as runtime:
        runtime.chat("hello")
        assert "be brief" in read(runtime) and "what the user says" not in read(runtime)  # nothing was kept yet
        runtime.new_conversation()
        fill(runtime)
        first = runtime.chat("question 2?")
        order = "be brief", "what the user says to question 3", "question 2?"
        places = [read(runtime).rindex(text) for text in order]
        assert places == sorted(places) and read(runtime).count("what the user says to question") == 3
        runtime.change_settings({"retrieve": 0})
        runtime.new_conversation()
        assert runtime.chat("question 2?").prompt_tokens < first.prompt_tokens


def test_they_stay_in_a_long_conversation_and_the_oldest_turns_are_let_go(open_runtime):
    with open_runtime(replace(SETTINGS, retrieve=3, context_tokens=512)) as runtime:
        fill(runtime)
        runtime.chat("this is the first message")
        for turn in range(12):
            runtime.chat(f"message {turn} of a long conversation")
            assert read(runtime).count("what the user says to question") == 3
            assert read(runtime).count("of a long conversation") >= min(turn + 1, 2)
            assert len(runtime.history) <= 12
        assert "this is the first message" not in read(runtime)
        assert runtime.history[-2]["content"] == "message 11 of a long conversation"


def test_looking_for_the_nearest_leaves_the_conversation_read(open_runtime):
    with open_runtime(replace(SETTINGS, retrieve=3)) as runtime:
        fill(runtime)
        runtime.chat("question 2")
        read = list(runtime.model._cached)
        assert runtime.retrieved("question 3") and runtime.model._cached == read != []


def test_an_empty_buffer_and_none_answered_retrieve_nothing(open_runtime):
    with open_runtime(replace(SETTINGS, retrieve=3)) as runtime:
        assert not runtime.retrieval.has_any()
        runtime.observe("question", Reply("reply", [1], TokenEmbeddings(toward(1), toward(1)), "end", 4))
        assert not runtime.retrieval.has_any() and runtime.retrieval.messages(toward(1)) == []
