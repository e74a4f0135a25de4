"""The methods complete and feedback, as clients of the socket and the Java API call them."""

import pytest
from rpc_caller import Failed, events_until


@pytest.fixture
def completing(opened):
    opened.open(temperature=0.0)
    return opened


def messages(*texts):
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def test_a_conversation_is_answered_and_streamed(completing):
    told = completing.call("complete", messages=messages("and butter"), stream=True, max_tokens=4, stop=["never"])
    assert told["tokens"] == 4 and told["adapter"] is None and told["stop"] == "length"
    event = events_until(completing.dispatcher.next_event, "event.chat_text")[-1]["params"]
    assert event["completion"] == told["completion"] and event["request_id"] == completing.call.count
    again = completing.call("complete", messages=messages("and butter", told["text"], "and then?"), max_tokens=4)
    assert again["cached_tokens"] > 10


def test_a_text_is_continued_and_streamed(completing):
    told = completing.call("continue_text", text="and butter", stream=True, max_tokens=4)
    assert told["tokens"] == 4 and told["adapter"] is None and told["stop"] == "length"
    event = events_until(completing.dispatcher.next_event, "event.chat_text")[-1]["params"]
    assert event["completion"] == told["completion"] and event["text"] in told["text"]
    assert completing.call("status")["runtime"]["buffer"]["seen"] == 0


def test_feedback_answers_without_a_question(completing):
    chat, complete = completing.call("chat", text="and butter"), completing.call("complete", messages=messages("hello"))
    assert completing.call("feedback", completion=chat["completion"], verdict="up") == {
        "dialogue_set_id": 1,
        "answered": True,
    }
    completing.call("feedback", completion=complete["completion"], verdict="better", text="good morning")
    assert completing.call("prompts")["waiting"] == 0
    assert completing.call("status")["runtime"]["answered"]["sets"] == 2


def test_the_better_of_two_answers_is_learned(completing):
    one, two = (
        completing.call("complete", messages=messages("hello"), seed=seed, temperature=2, max_tokens=8)
        for seed in (1, 2)
    )
    told = completing.call("feedback", completion=two["completion"], verdict="preferred", over=one["completion"])
    assert told == {"dialogue_set_id": 1, "answered": True}
    assert completing.call("status")["runtime"]["answered"]["sets"] == 1


def test_another_answer_to_the_last_message(completing):
    completing.call("settings", values={"temperature": 2.0})
    first = completing.call("chat", text="hello butter")
    second = completing.call("another", completion=first["completion"], stream=True)
    event = events_until(completing.dispatcher.next_event, "event.chat_text")[-1]["params"]
    assert event["completion"] == second["completion"] != first["completion"]
    told = completing.call("feedback", completion=second["completion"], verdict="preferred", over=first["completion"])
    assert told["answered"] and completing.call("status")["runtime"]["buffer"]["seen"] == 1


def test_feedback_dismisses_the_question_that_is_shown(completing):
    told = completing.call("chat", text="and butter")
    events_until(completing.dispatcher.next_event, "event.prompt")
    completing.call("feedback", completion=told["completion"], verdict="up")
    dismissed = events_until(completing.dispatcher.next_event, "event.prompt_dismissed")[-1]
    assert dismissed["params"] == {"prompt_id": 1}


@pytest.mark.parametrize(
    "params, code",
    [
        ({"messages": []}, -32602),
        ({"messages": [1]}, -32602),
        ({"messages": [{"role": "user"}]}, -32602),
        ({"messages": [{"role": "tool", "content": "x"}]}, -32602),
        ({"messages": [{"role": "user", "content": 1}]}, -32602),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, -32602),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, -32602),
        ({"messages": [{"role": "user", "content": "x" * 70_000}]}, -32006),
        ({"messages": messages("x"), "stop": [""]}, -32602),
        ({"messages": messages("x"), "stop": ["a"] * 5}, -32602),
        ({"messages": messages("x"), "stop": ["a" * 65]}, -32006),
        ({"messages": messages("x", "y")}, -32001),
        ({"messages": messages("x"), "temperature": 3}, -32602),
    ],
)
def test_wrong_messages_are_refused(completing, params, code):
    with pytest.raises(Failed) as found:
        completing.call("complete", **params)
    assert found.value.code == code


def test_wrong_feedback_is_refused(completing):
    id = completing.call("chat", text="and butter")["completion"]
    wrong = [{"verdict": "better"}, {"verdict": "up", "text": "x"}, {"verdict": "great"}]
    wrong += [{"verdict": "preferred"}, {"verdict": "up", "over": id}, {"verdict": "preferred", "over": id}]
    for params in wrong:
        with pytest.raises(Failed):
            completing.call("feedback", completion=id, **params)
    with pytest.raises(Failed, match="no completion 'chatcmpl-guessed'"):
        completing.call("feedback", completion="chatcmpl-guessed", verdict="up")
