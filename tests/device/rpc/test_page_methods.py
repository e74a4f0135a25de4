"""Methods for a page or an app: what was learned from, comparing, learning by hand, settings, the model, the key."""

import json
from pathlib import Path

import pytest
from idletune.errors import UsageError
from idletune.rpc.events import EventQueue
from idletune.state.home import DATABASE
from idletune.state.origins import HTTP_CLIENT
from rpc_caller import CHARGING, ENDLESS, Caller, Failed, events_until, in_thread


def observe(opened, *exchanges):
    return [opened.call("observe", question=question, response=reply)["id"] for question, reply in exchanges]


def answer_due(opened, text):
    due = opened.call("prompts")["prompts"][0]
    opened.call("answer", prompt_id=due["id"], shown=due["shown"], verdict="edit", text=text)
    return due["dialogue_set_id"]


def test_sets_are_listed_newest_first_and_found_by_their_words(opened):
    opened.open()
    bread, garden = observe(opened, ("What is bread?", "a loaf"), ("When do I plant ROSES?", "in autumn"))
    answered = answer_due(opened, "in November")
    everything = opened.call("sets")
    assert [found["id"] for found in everything["sets"]] == everything["ids"] == [garden, bread]
    assert everything["counts"] | {"domains": {}} == {"total": 2, "answered": 1, "learned": 0, "domains": {}}
    assert sum(everything["counts"]["domains"].values()) == 2
    assert opened.call("sets", search="roses PLANT")["ids"] == [garden]
    assert opened.call("sets", search="roses bread")["found"] == 0
    assert opened.call("sets", which="answered")["ids"] == [answered]
    assert opened.call("sets", search="november")["ids"] == [answered]
    second = opened.call("sets", skip=1, limit=1)
    assert (second["found"], [found["id"] for found in second["sets"]]) == (2, [bread])
    known = opened.call("sets", which="answered")["sets"][0]
    assert known["response"] == "in November" and known["origin"] and known["answer_origin"] == "app"


def test_a_search_is_forgotten_as_a_whole_after_a_look_at_what_goes(opened):
    opened.open()
    opened.answered(6)
    other = observe(opened, ("what is rye?", "a grain"))
    ids = opened.call("sets", search="number")["ids"]
    planned = opened.call("forget_all", ids=ids, dry_run=True)
    assert planned["sets"] == sorted(ids) and opened.call("sets")["found"] == 7
    assert opened.call("forget_all", ids=ids) == planned
    assert opened.call("sets")["ids"] == other


@pytest.mark.parametrize("ids", [[], ["1"], [True], [0], [2**63], [1.5], [99]])
def test_ids_that_are_none_are_refused(opened, ids):
    opened.open()
    with pytest.raises(Failed):
        opened.call("forget_all", ids=ids)


def test_all_or_none_is_forgotten(opened):
    opened.open()
    kept = observe(opened, ("what is rye?", "a grain"))
    with pytest.raises(Failed, match="no dialogue set 99"):
        opened.call("forget_all", ids=[*kept, 99])
    assert opened.call("sets")["ids"] == kept


def test_the_base_and_what_was_learned_answer_side_by_side(opened):
    opened.open(seed=3)
    opened.answered(10)
    opened.call("device_state", state=CHARGING)
    assert opened.call("tick")["outcome"] == "promoted"
    seen = opened.call("status")["runtime"]["buffer"]["seen"]
    found = opened.call("compare", text="question number 3 about bread")
    assert found["adapter"] == 1 and found["shown"] > 0 and found["base"] != found["learned"]
    assert opened.call("compare", text="question number 3 about bread") == found  # no chance in it
    runtime = opened.dispatcher.shared.opened()
    assert runtime.model.adapter == runtime.adapters.current().path
    assert opened.call("status")["runtime"]["buffer"]["seen"] == seen
    opened.call("rollback")
    alone = opened.call("compare", text="question number 3 about bread")
    assert alone["adapter"] is None and alone["base"] == found["base"]


def test_learning_by_hand_needs_no_window_and_tells_its_end(opened):
    opened.open()
    opened.answered(10)
    conditions = {found["code"]: found["met"] for found in opened.call("learning")["conditions"]}
    assert conditions["nothing"] is True and conditions["plugged"] is None and "unknown" not in conditions
    assert opened.call("learn") == {"started": True}
    told = events_until(opened.dispatcher.next_event, "event.learning")
    assert told[-1]["params"]["outcome"] == "promoted" and "held-out loss fell" in told[-1]["params"]["reason"]
    assert opened.call("adapters")["serving"] == 1


def test_too_few_answers_end_it_in_words(opened):
    opened.open()
    opened.call("learn")
    told = events_until(opened.dispatcher.next_event, "event.learning")[-1]["params"]
    assert told["outcome"] == "failed" and "answer" in told["reason"]


def test_learning_by_hand_steps_aside_for_a_chat_and_is_stopped(opened):
    opened.open(seed=3, **ENDLESS)
    opened.answered(10)
    opened.call("learn")
    events_until(opened.dispatcher.next_event, "event.training")
    with pytest.raises(Failed, match="already"):
        opened.call("learn")
    assert opened.call("chat", text="hello bread")["tokens"] == 12
    assert opened.call("learning")["running"]
    assert opened.call("stop") == {"stopped": True}
    assert events_until(opened.dispatcher.next_event, "event.learning")[-1]["params"]["outcome"] == "stopped"
    state = opened.call("learning")
    assert state["unfinished"] and not state["running"]


def test_closing_ends_learning_by_hand(opened):
    opened.open(**ENDLESS)
    opened.answered(10)
    opened.call("learn")
    events_until(opened.dispatcher.next_event, "event.training")
    in_thread(lambda: opened.call("close"))()
    told = events_until(opened.dispatcher.next_event, "event.learning")[-1]["params"]
    assert told["outcome"] in ("stopped", "failed")


def test_conditions_say_what_is_not_met_and_why(opened):
    opened.open(window_percentage=95.0)
    opened.call("device_state", state={**CHARGING, "plugged": False})
    found = {each["code"]: each for each in opened.call("learning")["conditions"]}
    assert found["plugged"] == {"code": "plugged", "met": False, "reason": "not plugged in"}
    assert found["percentage"]["met"] is False and "95%" in found["percentage"]["reason"]
    assert found["temperature"]["met"] is True and "idle" not in found
    assert found["nothing"]["met"] is False and "new answers" in found["nothing"]["reason"]


def test_settings_are_described(opened):
    opened.open(daily_limit=7)
    described = {each["name"]: each for each in opened.call("describe_settings")["settings"]}
    assert described.keys() == opened.call("settings")["settings"].keys()
    limit = described["daily_limit"]
    assert (limit["value"], limit["default"], limit["type"], limit["least"]) == (7, 5, "int", 0)
    assert described["context_tokens"]["at_next_open"] and not limit["at_next_open"]
    assert "recent_diverse" in described["policy"]["choices"]


def test_the_model_says_whether_it_can_learn(opened):
    opened.open()
    found = opened.call("model")
    assert found["architecture"] == "llama" and found["parameters"] > 0 and found["bytes"] > 0
    assert found["trains"] and "MB" in found["verdict"]
    opened.call("settings", values={"memory_mb": 1})
    refused = opened.call("model")
    assert not refused["trains"] and "memory_mb" in refused["verdict"]


def test_what_learning_takes_is_tried(opened):
    opened.open(seed=3)
    report = opened.call("check")["report"]
    assert report["fits"] and report["refusal"] == "" and report["night"]["minutes"] > 0
    assert opened.call("chat", text="hello bread")["tokens"] > 0
    opened.call("settings", values={"memory_mb": 1})
    refused = opened.call("check")["report"]
    assert not refused["fits"] and "memory_mb" in refused["refusal"] and refused["night"] is None


def test_an_export_is_given_to_a_browser_and_remembered(opened):
    opened.open()
    (kept,) = observe(opened, ("what is rye?", "a grain"))
    given = opened.call("export_my_data")
    lines = [json.loads(line) for line in given["data"].splitlines()]
    assert given["records"] == len(lines) and any(line.get("question") == "what is rye?" for line in lines)
    (copy,) = opened.call("forget", id=kept, dry_run=True)["copies"]
    assert copy["kind"] == "download" and copy["there"] is False


def test_a_key_file_is_made_used_and_opens_the_home_again(opened):
    opened.open()
    observe(opened, ("what is rye?", "a grain"))
    path = Path(opened.call("rotate_key")["path"])
    assert path == opened.home.with_name("home.key") and path.stat().st_mode & 0o777 == 0o600
    assert opened.call("status")["runtime"]["encrypted"]
    other = Path(opened.call("rotate_key", path=str(opened.home.with_name("other.key")))["path"])
    opened.call("close")
    opened.call("open", model=str(opened.model), home=str(opened.home))
    assert opened.dispatcher.shared.opened().settings.key_file == str(other)
    assert opened.call("sets")["found"] == 1


def test_the_hosts_own_key_is_not_replaced_by_a_file(opened):
    opened.call("open", model=str(opened.model), home=str(opened.home), key="A" * 43 + "=")
    with pytest.raises(Failed, match="program that opened it"):
        opened.call("rotate_key")


@pytest.mark.parametrize("name, params", [("erase", {"confirm": "erase"}), ("rotate_key", {})])
@pytest.mark.parametrize("origin", ["client cat", HTTP_CLIENT])
def test_no_program_erases_or_locks_what_is_kept(opened, name, params, origin):
    opened.open()
    program = opened.dispatcher.clients.connect(EventQueue(origin))
    call = Caller(lambda request: opened.dispatcher.handle(request, program))
    with pytest.raises(Failed, match="for the user alone"):
        call(name, **params)
    assert opened.call("status")["open"] and not opened.call("status")["runtime"]["encrypted"]


def test_everything_is_erased(opened):
    opened.open()
    observe(opened, ("what is rye?", "a grain"))
    with pytest.raises(Failed):
        opened.call("erase", confirm="yes")
    assert opened.call("erase", confirm="erase")["files"] > 0
    assert opened.call("status") == {"open": False}
    assert not (opened.home / DATABASE[0]).exists()


def test_the_runtime_refuses_an_empty_comparison(opened):
    opened.open()
    with pytest.raises(UsageError, match="empty"):
        opened.dispatcher.shared.opened().compare(" ")
