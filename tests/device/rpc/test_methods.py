"""Every method on the tiny model, each result held against its declaration (rpc_caller.py)."""

import base64
import json
import os
import sqlite3
from contextlib import closing

import pytest
from idletune.learning.adapters import Adapters
from idletune.privacy import forget
from idletune.state.keyring import make_key
from idletune.state.store import FILE_NAME, Store
from rpc_caller import CHARGING, Caller, Failed, events_until


def fails(code, call, name, **params):
    with pytest.raises(Failed) as caught:
        call(name, **params)
    assert caught.value.code == code, caught.value
    return str(caught.value)


def test_the_whole_loop(opened):
    call, events = opened.call, opened.dispatcher.next_event
    opened.open()
    opened.answered(10)
    assert call("tick")["code"] == "unknown"
    assert call("device_state", state=CHARGING)["believed"]["plugged"] is True
    done = call("tick")
    assert (done["outcome"], done["more"]) == ("promoted", False), done
    assert "held-out loss fell" in done["reason"] and done["seconds"] > 0
    told = events_until(events, "event.adapter")[-1]["params"]
    assert (told["version"], told["promoted"]) == (1, True)
    known = call("adapters")
    assert known["serving"] == 1 and [found["version"] for found in known["adapters"]] == [1]
    assert call("tick") | {"reason": ""} == {
        "outcome": "not_now",
        "code": "nothing",
        "reason": "",
        "seconds": 0.0,
        "more": False,
    }
    assert call("rollback") == {"serving": None}
    told = events_until(events, "event.adapter")[-1]["params"]
    assert told == {"version": 1, "promoted": False, "suspicious": False, "reason": "rolled back"}
    assert "nothing to roll back" in fails(-32001, call, "rollback")
    assert call("status")["runtime"]["answered"]["sets"] == 10


def test_chat_streams_its_text_and_asks_a_question(opened):
    opened.open(seed=3)  # with others the tiny model has nothing to say
    reply = opened.call("chat", text="hello bread", stream=True)
    assert reply["tokens"] == 12 and reply["stop"] == "length"
    told = events_until(opened.dispatcher.next_event, "event.prompt")
    text = "".join(event["params"]["text"] for event in told if event["method"] == "event.chat_text")
    assert text.strip() == reply["text"] and told[0]["params"]["request_id"] == opened.call.count
    due = opened.call("prompts")
    assert due["prompts"] == [told[-1]["params"]["prompt"]] and due["waiting"] == 1
    longer = opened.call("chat", text="hello bread")
    afresh = opened.call("chat", text="hello bread", new_conversation=True)
    assert longer["prompt_tokens"] > reply["prompt_tokens"] == afresh["prompt_tokens"]
    assert opened.dispatcher.next_event(0) == b""  # neither asked to stream, and the question was told


def test_what_cannot_be_kept_is_answered_all_the_same(opened):
    opened.open(seed=3, bin_bytes=1024)
    reply = opened.call("chat", text="bread " * 120)
    assert reply["text"] and "more than the 1024 bytes of a bin" in reply["unobserved"]
    assert opened.call("status")["runtime"]["unobserved"] == reply["unobserved"]
    assert "unobserved" not in opened.call("chat", text="hello", new_conversation=True)
    status = opened.call("status")["runtime"]
    assert status["buffer"]["seen"] == 1 and status["unobserved"] == ""


def test_a_database_that_takes_nothing_costs_the_exchange_and_the_question_but_not_the_answer(opened):
    opened.open(seed=3)
    opened.call("observe", question="what is bread?", response="a loaf")
    opened.dispatcher.shared.opened().store.rows("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(opened.home / FILE_NAME)) as other:
        other.execute("BEGIN IMMEDIATE")
        reply = opened.call("chat", text="hello bread")
    assert reply["tokens"] == 12 and reply["unobserved"]


@pytest.mark.parametrize(
    "verdict, text",
    [
        ("accept", {}),
        ("edit", {"text": "better"}),
        ("dismiss", {}),
        ("never_ask", {}),
    ],
)
def test_each_verdict(opened, verdict, text):
    opened.open()
    opened.call("observe", question="what is bread?", response="a loaf")
    due = opened.call("prompts")["prompts"][0]
    assert (due["question"], due["response"]) == ("what is bread?", "a loaf")
    assert opened.call("answer", prompt_id=due["id"], shown=due["shown"], verdict=verdict, **text) == {
        "verdict": verdict
    }
    assert opened.call("prompts") == {"prompts": [], "waiting": 0}
    assert "ask for the next one" in fails(
        -32001, opened.call, "answer", prompt_id=due["id"], shown=due["shown"], verdict="dismiss"
    )


@pytest.mark.parametrize("verdict, other", [("first", "second"), ("second", "first")])
def test_a_question_offers_two_responses_where_that_is_wanted(opened, verdict, other):
    call = opened.call
    opened.open(seed=3, temperature=2.0, ask_choices=1.0)  # else the tiny model may have nothing to say
    for question in ("what is bread?", "what is butter?"):
        call("observe", question=question, response="a reply")
    call("device_state", state=CHARGING)
    done = call("tick")
    assert (done["outcome"], done["more"]) == ("refreshed", False)
    put = call("prompts")["prompts"][0]  # at once: too early for a second response
    assert put["second"] is None
    call("answer", prompt_id=put["id"], shown=put["shown"], verdict="dismiss")
    due = call("prompts")["prompts"][0]
    texts = {"first": due["response"], "second": due["second"]}
    assert texts["second"] and texts["first"] != texts["second"]
    answered = {"prompt_id": due["id"], "shown": due["shown"], "verdict": verdict}
    assert "is not what was shown" in fails(-32001, call, "answer", **{**answered, "shown": "another"})
    assert call("answer", **answered) == {"verdict": verdict}
    assert call("sets", which="answered")["sets"][0]["response"] == texts[verdict]
    assert "answered already" in fails(-32001, call, "answer", **{**answered, "verdict": other})


def test_an_answer_that_finds_the_disk_full_can_be_given_again(opened):
    opened.open()
    opened.call("observe", question="what is bread?", response="a loaf")
    due = opened.call("prompts")["prompts"][0]
    answer = {
        "prompt_id": due["id"],
        "shown": due["shown"],
        "verdict": "edit",
        "text": "a loaf of flour, water and salt " * 300,
    }
    store = opened.dispatcher.shared.opened().store
    store.rows("PRAGMA max_page_count = 1")  # SQLite takes the pages that are there
    assert "free some storage" in fails(-32007, opened.call, "answer", **answer)
    store.rows("PRAGMA max_page_count = 1000000")
    assert opened.call("answer", **answer) == {"verdict": "edit"}


def test_text_goes_with_edit_only(opened):
    opened.open()
    fails(-32602, opened.call, "answer", prompt_id=1, shown="", verdict="edit")
    fails(-32602, opened.call, "answer", prompt_id=1, shown="", verdict="accept", text="x")


@pytest.mark.parametrize("verdict", ["accept", "dismiss", "never_ask"])
def test_an_answered_question_is_told_as_dismissed(opened, verdict):
    opened.open()
    opened.call("observe", question="what is bread?", response="a loaf")
    due = opened.call("prompts")["prompts"][0]
    opened.call("answer", prompt_id=due["id"], shown=due["shown"], verdict=verdict)
    told = events_until(opened.dispatcher.next_event, "event.prompt_dismissed")
    assert told[-1]["params"] == {"prompt_id": due["id"]}


def test_a_question_that_another_process_forgot_is_told_as_dismissed(opened):
    opened.open()
    id = opened.call("observe", question="my secret plumbus", response="yes")["id"]
    asked = events_until(opened.dispatcher.next_event, "event.prompt")[-1]["params"]["prompt"]["id"]
    with Store(opened.home) as store:
        forget(store, Adapters(store, ""), id)
    opened.call("observe", question="what is bread?", response="a loaf")
    told = events_until(opened.dispatcher.next_event, "event.prompt")
    assert [event["params"].get("prompt_id") for event in told] == [asked, None]


def test_forget_takes_the_set_out_of_the_export(opened, tmp_path):
    opened.open()
    id = opened.call("observe", question="my secret plumbus", response="yes")["id"]
    assert opened.call("export_my_data", path=str(tmp_path / "before"))["records"] > 1
    assert "plumbus" in (tmp_path / "before").read_text()
    due = opened.call("prompts")["prompts"][0]["id"]
    planned = opened.call("forget", id=id, dry_run=True)
    assert (planned["sets"], planned["prompts"]) == ([id], [due]) and opened.call("prompts")["waiting"] == 1
    assert [copy["path"] for copy in planned["copies"]] == [str(tmp_path / "before")]
    assert opened.call("forget", id=id, descendants="shown") == planned
    told = events_until(opened.dispatcher.next_event, "event.prompt_dismissed")
    assert "plumbus" not in json.dumps(told) and told[-1]["params"] == {"prompt_id": due}
    assert opened.call("copies", erase_record=True)["copies"] == planned["copies"]
    assert opened.call("copies") == {"copies": []}
    opened.call("export_my_data", path=str(tmp_path / "after"))
    assert "plumbus" not in (tmp_path / "after").read_text()
    assert "does not exist yet" in fails(-32001, opened.call, "export_my_data", path=str(tmp_path / "after"))
    assert "no dialogue set 99" in fails(-32001, opened.call, "forget", id=99)


def test_settings_are_changed_at_once_and_kept(opened):
    opened.open()
    opened.call("device_state", state=CHARGING)
    changed = opened.call("settings", values={"daily_limit": 0, "threads": 2})
    assert changed["settings"]["daily_limit"] == 0 and changed["at_next_open"] == ["threads"]
    opened.call("observe", question="what is bread?", response="a loaf")
    assert opened.call("prompts") == {"prompts": [], "waiting": 1}
    assert opened.call("tick")["code"] == "nothing", "the pushed state went with the change"
    assert json.loads((opened.home / "settings.json").read_text()) == {"daily_limit": 0, "threads": 2}
    assert "must be at least 0" in fails(-32001, opened.call, "settings", values={"daily_limit": -1})
    assert "no setting 'colour'" in fails(-32001, opened.call, "settings", values={"colour": 1})
    assert "window_needs names 'moon'" in fails(-32001, opened.call, "settings", values={"window_needs": "moon"})
    assert opened.call("settings")["settings"] == changed["settings"]


def test_settings_that_the_next_open_or_every_night_would_refuse_are_not_kept(opened, tmp_path):
    place = {"model": str(opened.model), "home": str(opened.home)}
    key = os.urandom(32)
    opened.call("open", **place, key=base64.b64encode(key).decode())
    make_key(tmp_path / "another")
    os.mkfifo(tmp_path / "fifo", 0o600)
    for values, said in (
        ({"lexicons": str(tmp_path / "none")}, "no lexicon folder"),
        ({"targets": "banana"}, "unknown LoRA target"),
        ({"key_file": str(tmp_path / "none")}, "cannot read the key file"),
        ({"key_file": str(tmp_path / "another")}, "wrong key for the state"),
        ({"key_file": str(tmp_path / "fifo")}, "it is no regular file"),
        ({"key_file": "/dev/zero"}, "is no regular file"),
        ({"key_file": "a\0b"}, "half a character or a NUL"),
    ):
        assert said in fails(-32001, opened.call, "settings", values={"daily_limit": 3, **values})
    assert not (opened.home / "settings.json").exists() and opened.call("settings")["settings"]["daily_limit"] == 5
    (tmp_path / "mine").write_bytes(key)
    (tmp_path / "mine").chmod(0o600)
    opened.call("settings", values={"key_file": str(tmp_path / "mine"), "targets": "q,v", "lexicons": ""})
    opened.call("close")
    assert opened.call("open", **place)


def test_open_twice_close_and_open_again(opened):
    opened.open()
    with pytest.raises(Failed, match="is open already; close it first") as caught:
        opened.open()
    assert caught.value.code == -32001
    assert opened.call("close") == {"closed": True} and opened.call("close") == {"closed": False}
    assert opened.call("status") == {"open": False}
    fails(-32003, opened.call, "chat", text="hello")
    opened.open()
    assert opened.call("status")["open"]


def test_a_key_locks_the_home(opened):
    key, wrong = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    place = {"model": str(opened.model), "home": str(opened.home)}
    opened.call("open", **place, key=key)
    assert opened.call("status")["runtime"]["encrypted"]
    opened.call("close")
    fails(-32001, opened.call, "open", **place)
    fails(-32001, opened.call, "open", **place, key=wrong)
    fails(-32001, opened.call, "open", **place, key="AAAA")
    fails(-32602, opened.call, "open", **place, key="not Base64!")
    opened.call("open", **place, key=key)


def test_an_empty_key_makes_no_plain_home(opened):
    place = {"model": str(opened.model), "home": str(opened.home)}
    assert "the key holds 0 bytes" in fails(-32001, opened.call, "open", **place, key="")
    assert opened.call("status") == {"open": False}


def test_what_cannot_be_opened_says_why(opened, tmp_path):
    home = {"home": str(tmp_path / "home")}
    assert "no" in fails(-32001, opened.call, "open", model=str(tmp_path / "none.gguf"), **home)
    fails(-32001, opened.call, "open", model="m" * 3000, **home)
    fails(-32001, opened.call, "open", model=str(opened.model), home=str(opened.model))
    fails(-32001, opened.call, "open", model=str(opened.model), **home, settings={"colour": 1})
    fails(-32001, opened.call, "open", model=str(opened.model), **home, settings={"threads": 10**9})
    fails(-32602, opened.call, "open", model=str(opened.model), **home, backend="magic")
    (tmp_path / "half.gguf").write_bytes(opened.model.read_bytes()[:5000])
    fails(-32002, opened.call, "open", model=str(tmp_path / "half.gguf"), **home)
    assert opened.call("status") == {"open": False}


def test_too_much_text_is_refused_by_its_size(opened):
    opened.open(seed=3)
    assert "65536 are the limit" in fails(-32006, opened.call, "chat", text="x" * 70_000)
    assert "do not fit the context" in fails(-32001, opened.call, "chat", text="x" * 60_000)
    assert "bin" in fails(-32001, opened.call, "observe", question="x" * 60_000, response="y")
    assert opened.call("chat", text="hello")["tokens"] == 12


def test_versions_and_subscription_need_nothing_open(opened):
    assert opened.call("version")["api"] == 2 and opened.call("stop") == {"stopped": False}
    assert opened.call("subscribe") == {"subscribed": True} and opened.call("cancel") == {"cancelled": []}
    assert "chat" in {found["name"] for found in opened.call("rpc.discover")["methods"]}


def test_a_second_dispatcher_on_the_same_home_sees_what_the_first_kept(opened):
    from idletune.rpc import Dispatcher

    opened.open()
    opened.call("observe", question="what is bread?", response="a loaf")
    other = Dispatcher()
    try:
        call = Caller(other.handle)
        call("open", model=str(opened.model), home=str(opened.home), settings={"quiet_from": 0, "quiet_until": 0})
        assert call("prompts")["prompts"][0]["question"] == "what is bread?"
    finally:
        other.close()
