"""Who waits for whom: calls from several threads, while the tiny model learns for as long as a test wants."""

import json
import threading

import pytest
from idletune.learning.adapters import Adapters
from idletune.privacy import forget
from idletune.state.store import Store
from rpc_caller import (
    CHARGING,
    ENDLESS,
    Caller,
    Failed,
    check_response,
    events_until,
    hold_chats,
    hold_training,
    in_thread,
)


@pytest.fixture
def learning(opened):
    """A slice that has come to training, and goes on until somebody stops it; `learning()` gives its result."""
    opened.open(**ENDLESS, seed=3, retrieve_tokens=0)
    opened.answered(8)
    return start_slice(opened)


def start_slice(opened):
    opened.call("device_state", state=CHARGING)
    slice = in_thread(lambda: Caller(opened.dispatcher.handle)("tick"))
    told = events_until(opened.dispatcher.next_event, "event.training")
    while told[-1]["params"].get("stage") != "training":
        told = events_until(opened.dispatcher.next_event, "event.training")
    return slice


def test_the_user_does_not_wait_for_learning(opened, learning):
    assert opened.call("chat", text="hello")["tokens"] == 12
    done = learning()
    assert (done["outcome"], done["code"], done["more"]) == ("stopped", "interrupted", True)
    assert "the user needs the model" in done["reason"] and (opened.home / "training.npz").is_file()


@pytest.mark.parametrize(
    "name, params",
    [
        ("observe", {"question": "what is bread?", "response": "a loaf"}),
        ("forget", {"id": 1}),
        ("settings", {"values": {"daily_limit": 1}}),
        ("close", {}),
    ],
)
def test_so_does_nothing_else_that_needs_the_model(opened, learning, name, params):
    opened.call(name, **params)
    assert learning()["outcome"] == "stopped"


def test_what_needs_the_store_alone_is_answered_beside_learning(opened, learning, tmp_path):
    assert opened.call("status")["runtime"]["learning"]["running"]
    opened.call("prompts"), opened.call("adapters"), opened.call("settings"), opened.call("version")
    opened.call("export_my_data", path=str(tmp_path / "mine"))
    assert opened.call("device_state", state={**CHARGING, "percentage": 80})["believed"]["percentage"] == 80
    assert learning.running()
    assert opened.call("stop") == {"stopped": True}
    done = learning()
    assert done["outcome"] == "stopped" and "asked to stop" in done["reason"]


def test_an_answer_is_taken_beside_learning(opened):
    opened.open(**ENDLESS)
    opened.answered(8)
    opened.call("observe", question="what is bread?", response="a loaf")
    due = opened.call("prompts")["prompts"][0]
    learning = start_slice(opened)
    opened.call("answer", prompt_id=due["id"], shown=due["shown"], verdict="accept")
    assert learning.running() and opened.call("status")["runtime"]["answered"]["sets"] == 9
    opened.dispatcher.cancel()
    assert learning()["outcome"] == "stopped"


def test_a_second_slice_is_refused_and_the_first_goes_on(opened, learning):
    with pytest.raises(Failed, match=r"the model is in use \(tick\)") as caught:
        opened.call("tick")
    assert caught.value.code == -32004 and learning.running()
    opened.call("stop")
    learning()


def test_the_charger_pulled_ends_the_slice(opened):
    opened.open(**ENDLESS, poll_seconds=0.1)
    opened.answered(8)
    learning = start_slice(opened)
    opened.call("device_state", state={**CHARGING, "plugged": False})
    assert (done := learning())["outcome"] == "stopped" and done["code"] == "plugged", done


def test_a_slice_ends_in_the_time_it_was_given(opened):
    opened.open(**ENDLESS)
    opened.answered(8)
    opened.call("device_state", state=CHARGING)
    done = opened.call("tick", max_seconds=2)
    assert (done["outcome"], done["code"], done["more"]) == ("stopped", "length", True), done
    assert "the slice was given 2 seconds" in done["reason"]


def test_a_stopped_slice_goes_on_after_a_restart(opened, monkeypatch):
    opened.open()
    opened.answered(8)
    with monkeypatch.context() as patched:
        hold_training(patched)
        learning = start_slice(opened)
        opened.call("stop")
        assert learning()["outcome"] == "stopped"
    opened.call("close")
    opened.open()
    opened.call("device_state", state=CHARGING)
    assert opened.call("tick")["outcome"] in ("promoted", "rejected")


def test_a_slice_that_ends_as_a_set_is_forgotten_elsewhere_is_to_go_on(opened, learning):
    with Store(opened.home) as store:
        forget(store, Adapters(store, opened.dispatcher.shared.opened().model.sha256, 3), 1)
    done = learning()
    assert (done["outcome"], done["more"]) == ("stopped", True), done


def test_a_chat_is_cancelled_and_leaves_nothing(opened, monkeypatch):
    hold_chats(monkeypatch)
    opened.open(seed=3)
    session = opened.call("session")["session"]
    chat = in_thread(lambda: Caller(opened.dispatcher.handle)("chat", text="hello bread", stream=True))
    events_until(opened.dispatcher.next_event, "event.chat_text")
    opened.dispatcher.cancel()
    with pytest.raises(Failed, match="cancelled after") as caught:
        chat()
    assert caught.value.code == -32005
    status = opened.call("status")["runtime"]
    assert status["buffer"]["seen"] == 0 and not len(
        opened.dispatcher.shared.opened().conversations.of(session).history
    )


def test_closing_ends_all_that_waits(opened, learning):
    chats = [in_thread(lambda: Caller(opened.dispatcher.handle)("chat", text="hello")) for _ in range(3)]
    opened.dispatcher.close()
    assert learning()["outcome"] == "stopped"
    for chat in chats:
        try:
            chat()
        except Failed as error:
            assert error.code in (-32003, -32005)


def test_eight_threads_call_while_one_learns(opened, learning):
    methods = ["status", "prompts", "chat", "adapters", "settings", "tick", "observe", "version"]
    params = {"chat": {"text": "hello"}, "observe": {"question": "what?", "response": "that"}}
    failures = []

    def calls(number):
        for i in range(25):
            name = methods[(number + i) % len(methods)]
            request = {"jsonrpc": "2.0", "id": i, "method": name, "params": params.get(name, {})}
            response = json.loads(opened.dispatcher.handle(json.dumps(request).encode()))
            check_response(response)
            if "error" in response and response["error"]["code"] != -32004:
                failures.append(response)

    threads = [threading.Thread(target=calls, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    for thread in threads:
        while thread.is_alive():  # a slice that the last thread began has nobody left to stop it
            thread.join(2)
            if sum(other.is_alive() for other in threads) == 1:
                opened.call("stop")
    learning()
    assert not failures and opened.call("status")["runtime"]["buffer"]["seen"] > 8
