"""Adapters that wait for a person, that break, and where their answers came from, over the methods."""

import json

import numpy as np
import pytest
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.training.lora import Lora
from rpc_caller import CHARGING, Failed


def events(opened) -> list[dict]:
    """What was told of adapters since the last look."""
    found = []
    while told := opened.dispatcher.next_event(0):
        found.append(json.loads(told))
    return [told["params"] for told in found if told["method"] == "event.adapter"]


@pytest.fixture
def suspicious(opened):
    opened.open(suspicious_fall=0.05)
    opened.answered(10)
    opened.call("device_state", state=CHARGING)
    return opened


def test_a_held_back_adapter_is_told_and_promoted(suspicious):
    call = suspicious.call
    done = call("tick")
    assert done["outcome"] == "held_back" and "idletune promote 1" in done["reason"]
    assert [(told["version"], told["suspicious"]) for told in events(suspicious)] == [(1, True)]
    facts = call("status")["runtime"]
    assert facts["adapter"] is None and facts["held_back"]["version"] == 1
    assert facts["held_back"]["origins"] == [{"asked": "app, observed", "answered": "app", "sets": 8, "share": 1.0}]
    with pytest.raises(Failed, match="adapter 2 does not wait to be promoted; adapter 1 does"):
        call("promote", version=2)
    assert call("promote", version=1) == {"serving": 1}
    assert [(told["version"], told["promoted"]) for told in events(suspicious)] == [(1, True)]
    facts = call("status")["runtime"]
    assert facts["adapter"]["version"] == 1 and facts["held_back"] is None


def test_a_broken_adapter_is_dropped_and_told_while_the_chat_goes_on(opened, tiny_path):
    opened.open()
    runtime = opened.dispatcher.shared.opened()
    lora = Lora(ModelShape.of(GgufFile(tiny_path)), "q", 4, 8.0)
    lora.flat[:] = np.nan
    version = runtime.adapters.add(lora, runtime.settings, []).version
    runtime.adapters.promote(version, {}, "as an earlier version did")
    assert opened.call("chat", text="hello")["tokens"] >= 0
    (told,) = events(opened)
    assert (told["version"], told["promoted"]) == (version, False) and "not finite" in told["reason"]
    facts = opened.call("status")["runtime"]
    assert facts["adapter"] is None and facts["dropped"]["version"] == version
    assert "not finite" in facts["dropped"]["reason"]


def test_an_answer_on_a_notification_is_marked(opened):
    opened.open()
    opened.call("observe", question="what is bread?", response="a loaf")
    due = opened.call("prompts")["prompts"][0]
    opened.call("answer", prompt_id=due["id"], shown=due["shown"], verdict="accept", notification=True)
    (kept,) = opened.dispatcher.shared.opened().buffer.sets()
    assert (kept.origin, kept.answer_origin) == ("app, observed", "app, notification")


def test_observe_has_a_limit_an_hour(opened):
    opened.open(observe_hour=2)
    for number in range(2):
        opened.call("observe", question=f"question {number}", response="a reply")
    with pytest.raises(Failed, match=r"2 is the limit \(observe_hour\)"):
        opened.call("observe", question="more", response="a reply")
    assert opened.call("chat", text="the user's own chat is not limited")["text"] is not None
