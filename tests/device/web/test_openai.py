"""/v1: chat completions as OpenAI's clients expect them, and feedback."""

import base64

import numpy as np
import pytest
from served import sse

HELLO = [{"role": "user", "content": "hello bread"}]


def test_an_answer_has_openais_form(shared):
    answer = shared.chat("hello bread", max_tokens=5).json()
    assert answer["object"] == "chat.completion" and answer["model"] == "tiny" and answer["id"].startswith("chatcmpl-")
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length" and choice["message"]["role"] == "assistant"
    usage = answer["usage"]
    assert usage["completion_tokens"] == 5 and usage["total_tokens"] == usage["prompt_tokens"] + 5


def test_a_streamed_answer_is_the_same(shared):
    asked = {"max_tokens": 8, "seed": 7, "temperature": 1}
    whole = shared.chat("hello bread", **asked).json()
    events = sse(shared.chat("hello bread", stream=True, stream_options={"include_usage": True}, **asked).text)
    assert events[-1] == "[DONE]" and len({event["id"] for event in events[:-1]}) == 1
    *chunks, usage = events[:-1]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text.strip() == whole["choices"][0]["message"]["content"]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant" and usage["choices"] == []
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 8


def test_seed_and_temperature_decide_the_answer(shared):
    def text(**asked):
        return shared.chat("hello bread", max_tokens=12, **asked).json()["choices"][0]["message"]["content"]

    assert text(seed=1, temperature=2) == text(seed=1, temperature=2) != text(seed=2, temperature=2)
    assert text(seed=-5, temperature=2) == text(seed=2**32 - 5, temperature=2)
    assert text(temperature=0) == text(temperature=0, seed=9)


def test_an_answer_ends_before_a_stop_text(shared):
    whole = shared.chat("and butter", max_tokens=12, temperature=0).json()["choices"][0]["message"]["content"]
    stop = whole[4:6]
    cut = shared.chat("and butter", max_tokens=12, temperature=0, stop=[stop, "never"]).json()["choices"][0]
    assert cut["finish_reason"] == "stop" and cut["message"]["content"] == whole[: whole.index(stop)].strip()
    events = sse(shared.chat("and butter", max_tokens=12, temperature=0, stop=stop, stream=True).text)
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
    assert text == whole[: whole.index(stop)]


def test_system_messages_and_parts_are_read(shared):
    def prompt_tokens(*messages):
        asked = {"messages": list(messages), "max_tokens": 1}
        return shared.program.post("/v1/chat/completions", json=asked).json()["usage"]["prompt_tokens"]

    system, developer = ({"role": role, "content": "short"} for role in ("system", "developer"))
    parts = {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "bread"}]}
    assert prompt_tokens(system, *HELLO) == prompt_tokens(developer, *HELLO) == prompt_tokens(*HELLO, system)
    assert prompt_tokens(system, *HELLO) > prompt_tokens(*HELLO) == prompt_tokens(parts)
    assert prompt_tokens({"role": "assistant", "content": "welcome"}, *HELLO) > prompt_tokens(*HELLO)


REFUSED = [
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"functions": [{}]}, "functions"),
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"logit_bias": {"1": 1}}, "logit_bias"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     "messages[0].content[0]"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
    ({"messages": [*HELLO, {"role": "assistant", "tool_calls": [{}]}]}, "messages[1]"),
]  # fmt: skip
WRONG = [
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_completion_tokens": True}, "max_completion_tokens"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": -1}, "top_p"),
    ({"seed": "x"}, "seed"),
    ({"stop": [1]}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": []}, "stream_options"),
]


@pytest.mark.parametrize("asked, param", [*REFUSED, *WRONG], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_not_done_here_is_refused_in_openais_form(shared, asked, param):
    before = shared.seen()
    answer = shared.program.post("/v1/chat/completions", json={"messages": HELLO, **asked})
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["type"] == "invalid_request_error"
    assert error["param"] == param and error["message"] and error["code"] in ("unsupported_parameter", "invalid_value")
    assert shared.seen() == before


def test_what_asks_for_nothing_is_taken(shared):
    nothing = {"tools": [], "n": 1, "logprobs": False, "tool_choice": "none", "functions": None, "stop": None}
    extras = {"model": "whatever", "user": "me", "top_k": 40, "frequency_penalty": 0.0, "presence_penalty": 0}
    assert shared.chat("hello", max_tokens=1, **nothing, **extras).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_without_a_question_or_too_long_is_refused(shared, stream):
    last = shared.program.post(
        "/v1/chat/completions", json={"messages": [*HELLO, {"role": "assistant", "content": "x"}], "stream": stream}
    )
    assert last.status_code == 400 and "last message" in last.json()["error"]["message"]
    long = shared.chat("x" * 5000, stream=stream)
    assert long.status_code == 400 and "do not fit the context" in long.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_stand_beside_the_answer(web, monkeypatch, stream):
    """Where several servers put them; they are no part of the answer."""
    model = web.dispatcher.shared.opened().model
    tokens = iter([*model.tokenize("<think>Hm.</think>Yes, I do."), model.engine.end_of_text])
    monkeypatch.setattr(model.engine, "sample", lambda sampler, index: next(tokens))
    answer = web.chat("do you think?", stream=stream, max_tokens=60)
    if stream:
        deltas = [chunk["choices"][0]["delta"] for chunk in sse(answer.text)[:-1]]
        said = {name: "".join(delta.get(name, "") for delta in deltas) for name in ("reasoning_content", "content")}
    else:
        said = answer.json()["choices"][0]["message"]
    assert (said["reasoning_content"].strip(), said["content"].strip()) == ("Hm.", "Yes, I do.")
    assert web.dispatcher.shared.opened().buffer.sets()[0].reply == "Yes, I do."


def continued(web, prompt, **asked):
    return web.program.post("/v1/completions", json={"prompt": prompt, **asked})


def test_a_text_is_continued(shared):
    """As it stands: no chat template, no history, and nothing of it is observed."""
    before = shared.seen()
    answer = continued(shared, "hello bread", max_tokens=8).json()
    assert answer["object"] == "text_completion" and answer["id"].startswith("cmpl-") and answer["model"] == "tiny"
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length" and choice["index"] == 0 and choice["logprobs"] is None
    model = shared.dispatcher.shared.opened().model
    assert answer["usage"]["prompt_tokens"] == len(model.tokenize("hello bread", begin=True))
    assert answer["usage"]["completion_tokens"] == 8 and shared.seen() == before
    longer = continued(shared, ["hello bread" + choice["text"]], max_tokens=8).json()
    assert longer["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


def test_a_streamed_continuation_is_the_same_with_its_spaces(shared):
    asked = {"max_tokens": 12, "seed": 7, "temperature": 1}
    whole = continued(shared, "and butter", **asked).json()
    events = sse(continued(shared, "and butter", stream=True, stream_options={"include_usage": True}, **asked).text)
    assert events[-1] == "[DONE]" and len({event["id"] for event in events[:-1]}) == 1
    *chunks, usage = events[:-1]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["choices"][0]["text"]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"} and usage["choices"] == []
    assert chunks[-1]["choices"][0]["finish_reason"] == "length" and usage["usage"]["completion_tokens"] == 12


def test_a_continuation_ends_before_a_stop_text(shared):
    whole = continued(shared, "and butter", max_tokens=12, temperature=0).json()["choices"][0]["text"]
    cut = continued(shared, "and butter", max_tokens=12, temperature=0, stop=whole[4:6]).json()["choices"][0]
    assert cut["finish_reason"] == "stop" and cut["text"] == whole[: whole.index(whole[4:6])]


@pytest.mark.parametrize(
    "asked, told",
    [
        ({}, "one text"),
        ({"prompt": ["a", "b"]}, "one text"),
        ({"prompt": [1, 2]}, "one text"),
        ({"prompt": " "}, "empty text"),
        ({"prompt": "x" * 5000}, "do not fit the context"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "echo": True}, "echo"),
        ({"prompt": "x", "logprobs": 0}, "logprobs"),
        ({"prompt": "x", "best_of": 2}, "best_of"),
        ({"prompt": "x", "n": 2}, "n is not"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_continued_is_refused(shared, asked, told, stream):
    answer = shared.program.post("/v1/completions", json={**asked, "stream": stream})
    assert answer.status_code == 400 and told in answer.json()["error"]["message"]


def test_a_continuation_is_no_answer_that_feedback_is_about(shared):
    id = continued(shared, "hello bread", max_tokens=2, echo=False, suffix=None, best_of=1).json()["id"]
    assert feedback(shared, id, rating="up").status_code == 400


def test_texts_are_embedded(shared):
    def embed(**asked):
        return shared.program.post("/v1/embeddings", json=asked)

    two = embed(input=["hello bread", "and butter"]).json()
    first, second = (np.array(each["embedding"]) for each in two["data"])
    assert [each["index"] for each in two["data"]] == [0, 1] and first.shape == (64,) and (first != second).any()
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5) and two["usage"]["total_tokens"] > 4
    packed = embed(input="hello bread", encoding_format="base64").json()["data"][0]["embedding"]
    assert np.allclose(np.frombuffer(base64.b64decode(packed), "<f4"), first, atol=1e-6)
    for wrong in ({}, {"input": []}, {"input": [1, 2]}, {"input": " "}, {"input": "x", "dimensions": 8},
                  {"input": "x", "encoding_format": "int8"}, {"input": ["x"] * 65}):  # fmt: skip
        assert embed(**wrong).status_code == 400


def test_the_model_is_named(shared):
    (model,) = shared.program.get("/v1/models").json()["data"]
    assert model["id"] == "tiny" and shared.program.get("/v1/models/tiny").json() == model
    assert shared.program.get("/v1/models/gpt-4o").json()["error"]["code"] == "model_not_found"


def test_a_history_sent_again_is_recognized(web):
    """Nothing is observed twice, and the KV cache is reused."""
    first = web.chat("hello bread", max_tokens=8).json()
    assert web.seen() == 1
    reply = first["choices"][0]["message"]["content"]
    second = web.chat("hello bread", reply, "and butter", max_tokens=8).json()
    assert web.seen() == 2
    details = second["usage"]["prompt_tokens_details"]
    assert details["cached_tokens"] >= first["usage"]["prompt_tokens"]
    web.chat("hello bread", reply, "and butter", max_tokens=8, seed=3)  # the client asks for another answer
    web.chat("hello bread", reply, "and butter", max_tokens=8, stream=True)
    assert web.seen() == 2
    web.chat("and butter", max_tokens=8)  # a conversation of its own
    assert web.seen() == 3


def answers(web):
    return [(kept.question, kept.response) for kept in web.dispatcher.shared.opened().buffer.sets() if kept.response]


def feedback(web, completion, **given):
    return web.program.post("/v1/feedback", json={"completion_id": completion, **given})


def test_a_regenerated_answer_that_is_better_becomes_an_answer(web):
    one, two = (web.chat("hello bread", seed=seed, temperature=2, max_tokens=8).json() for seed in (1, 2))
    told = feedback(web, two["id"], better_than=one["id"]).json()
    assert told == {"completion_id": two["id"], "dialogue_set_id": 1, "answered": True}
    assert answers(web) == [("hello bread", two["choices"][0]["message"]["content"])]
    for wrong in ({"better_than": one["id"], "rating": "up"}, {"better_than": two["id"]}, {"better_than": 1}):
        assert feedback(web, two["id"], **wrong).status_code == 400


def test_feedback_becomes_an_answer(web):
    good, better = web.chat("hello bread").json(), web.chat("hello butter").json()
    told = feedback(web, good["id"], rating="up").json()
    assert told["answered"] and told["dialogue_set_id"] == 1
    assert feedback(web, better["id"], text=" spread it ").json()["answered"]
    assert answers(web) == [
        ("hello bread", good["choices"][0]["message"]["content"]),
        ("hello butter", "spread it"),
    ]
    sets = web.dispatcher.shared.opened().buffer.sets()
    assert {kept.answer_origin for kept in sets} == {"HTTP client"} == {kept.origin for kept in sets}
    assert web.rpc("prompts") == {"prompts": [], "waiting": 0}


def test_feedback_that_takes_one_back_has_the_question_asked(web):
    id = web.chat("hello bread").json()["id"]
    feedback(web, id, rating="up")
    assert feedback(web, id, rating="down").json() == {"completion_id": id, "dialogue_set_id": 1, "answered": False}
    assert answers(web) == [] and web.rpc("prompts")["waiting"] == 1
    feedback(web, id, text="spread it")
    assert feedback(web, id, rating="down").json()["answered"], "the user's own text stays"


def test_feedback_about_what_the_buffer_did_not_keep(web):
    """The exchange is kept for its answer."""
    web.rpc("settings", values={"buffer_capacity": 1})
    first, second = web.chat("hello bread").json()["id"], web.chat("hello butter").json()["id"]
    kept = len(web.dispatcher.shared.opened().buffer)
    assert kept == 1
    assert feedback(web, first, text="a loaf").json()["answered"]
    assert feedback(web, second, text="a pat").json()["answered"]
    assert sorted(answers(web)) == [("hello bread", "a loaf"), ("hello butter", "a pat")]


def test_feedback_about_another_answer_to_the_same_question(web):
    web.chat("hello bread", seed=1)
    again = web.chat("hello bread", seed=2, temperature=2).json()
    feedback(web, again["id"], rating="up")
    assert answers(web) == [("hello bread", again["choices"][0]["message"]["content"])]


def test_never_ask_takes_the_question_away(web):
    id = web.chat("my door code is 4711").json()["id"]
    assert feedback(web, id, rating="never_ask").json()["dialogue_set_id"] is None
    assert web.rpc("prompts")["waiting"] == 0 and len(web.dispatcher.shared.opened().buffer) == 0
    web.chat("My door code is  4711", seed=5)
    assert web.rpc("prompts")["waiting"] == 0


def test_feedback_after_a_restart(web, home, tiny_path):
    from idletune.runtime import Runtime

    id = web.chat("hello bread").json()["id"]
    web.dispatcher.shared.close()
    web.dispatcher.shared.open(lambda: Runtime(home, tiny_path, sequences=2))
    assert feedback(web, id, text="a loaf").json()["answered"] and answers(web) == [("hello bread", "a loaf")]


@pytest.mark.parametrize(
    "given",
    [{}, {"rating": "great"}, {"rating": "up", "text": "x"}, {"text": "  "}, {"text": 3}, {"rating": ["up"]}],
)
def test_wrong_feedback_is_refused(web, given):
    id = web.chat("hello bread").json()["id"]
    assert feedback(web, id, **given).status_code == 400 and not answers(web)
    assert feedback(web, "chatcmpl-guessed", rating="up").status_code == 400
    assert feedback(web, 7, rating="up").status_code == 400


def test_feedback_after_forgetting_is_about_nothing(web):
    id = web.chat("my door code is 4711").json()["id"]
    web.rpc("forget", id=1)
    answer = feedback(web, id, rating="up")
    assert answer.status_code == 400 and "forgotten" in answer.json()["error"]["message"]
