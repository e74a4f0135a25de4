"""Labels of the situation: checked, kept with the exchange, preferred by retrieval; and when the user is not asked."""

from dataclasses import replace

import pytest
from idletune.clock import FakeClock
from idletune.conversation import Conversation
from idletune.errors import UsageError
from idletune.labels import LONGEST, MOST, checked
from idletune.runtime import Runtime
from idletune.schedule.state_sources import HostSource, SysfsSource, may_ask
from idletune.state import set_labels
from idletune.state.store import Store
from loop import SETTINGS as USUAL
from loop import answer_all

SETTINGS = replace(USUAL, temperature=0.0)

OFFICE, HOME = {"place": "office"}, {"place": "home", "activity": "cooking"}


@pytest.fixture
def runtime(home, tiny_path):
    with Runtime(home, tiny_path, SETTINGS, sequences=2) as opened:
        yield opened


def test_labels_are_few_short_texts():
    assert list(checked({"b": "1", "a": "2"})) == ["a", "b"]
    wrong = [{str(n): "x" for n in range(MOST + 1)}, {"a": "x" * (LONGEST + 1)}, {"a": 1}, {"": "x"}, {"a": "\n"}]
    for labels in wrong:
        with pytest.raises(UsageError, match="label"):
            checked(labels)


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["plain", "encrypted"])
def test_they_are_kept_with_the_exchange_and_go_with_it(home, tiny_path, key):
    with Runtime(home, tiny_path, SETTINGS, sequences=2, key=key) as runtime:
        runtime.observe_exchange("where is the lift?", "on the left", labels=OFFICE)
        runtime.chat("hello butter", labels=HOME)
        runtime.chat("and butter")
        assert runtime.buffer.labels() == {1: OFFICE, 2: HOME}
        (stored, *_) = [row["labels"] for row in runtime.store.rows("SELECT labels FROM set_labels")]
        assert isinstance(stored, bytes) == bool(key)
        runtime.forget(1)
        assert runtime.buffer.labels() == {2: HOME}
    with Store(home, key=key) as store:
        assert set_labels.by_set(store) == {2: HOME}


def test_answers_of_the_same_label_come_first_where_words_fit_alike(runtime):
    for labels in (OFFICE, HOME, {}):
        runtime.observe_exchange("where is the lift?", "on the left", labels=labels)
    runtime.observe_exchange("garage door code?", "under the mat", labels={"place": "garage"})
    answer_all(runtime)

    def best(message, labels):
        return runtime.retrieval.ranked(message, Conversation(), labels)[0]

    assert [best("the lift?", labels) for labels in ({}, OFFICE, {"activity": "cooking"})] == [3, 1, 2]
    assert best("garage door of the lift?", OFFICE) == 4, "words decide"


def test_nobody_is_asked_while_the_host_says_so(runtime):
    runtime.chat("hello butter")
    assert runtime.push_device_state({"do_not_ask": True})["do_not_ask"] and runtime.next_prompt() is None
    runtime.push_device_state({"do_not_ask": "yes"})  # of another type: not known
    assert runtime.next_prompt() is not None


def test_it_stands_until_the_next_report(tmp_path):
    clock = FakeClock(wall=1e9)
    source = HostSource(tmp_path, clock)
    assert may_ask(source) and may_ask(SysfsSource(tmp_path))
    source.push({"do_not_ask": True})
    clock.advance(3600)
    assert not may_ask(source) and source.read().do_not_ask is None
    source.push({})
    assert may_ask(source)
