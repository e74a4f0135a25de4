"""What a reply was written from, and what an adapter knows, is kept, flattened, and outlives what it names."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from idletune.dialogue import Provenance, TokenEmbeddings
from idletune.errors import UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.learning.adapters import Adapters
from idletune.model.reply import Reply
from idletune.runtime import Runtime
from idletune.state import provenance, schema
from idletune.state.store import Store
from idletune.training.lora import Lora
from loop import SETTINGS, answer, saying


@pytest.fixture
def runtime(tiny_path, home):
    with Runtime(home, tiny_path, replace(SETTINGS, retrieve=1, retrieve_tokens=0), sequences=2) as runtime:
        yield runtime


@pytest.fixture
def lora(tiny_path):
    return Lora(ModelShape.of(GgufFile(tiny_path)), "q,v", 2, 4).initialize(0)


@pytest.fixture
def says(runtime):
    return saying(runtime)


def sources(runtime, id):
    return set(provenance.of_reply(runtime.store, id).sets)


def test_a_reply_descends_from_the_answers_shown_and_the_turns_before_it(runtime, says):
    told = says("my locker?", "no idea")
    answer(runtime, told, "its code is ZEBRA4711")
    runtime.new_conversation()
    shown = says("which code?", "ZEBRA4711")
    assert sources(runtime, told) == set() and sources(runtime, shown) == {told}
    runtime.buffer.remove(told)  # as a replaced set goes
    after = says("thanks", "for ZEBRA4711? any time")
    assert sources(runtime, shown) == {told} and sources(runtime, after) == {told, shown}
    runtime.new_conversation()
    assert sources(runtime, says("hello", "hello")) == set()


def test_an_accepted_reply_passes_its_sources_on_and_a_typed_answer_does_not(runtime, says):
    told = says("my locker?", "no idea")
    answer(runtime, told, "its code is ZEBRA4711")
    runtime.new_conversation()
    repeated = says("which code?", "ZEBRA4711")
    assert provenance.of_answers(runtime.store, [repeated]).sets == {told, repeated}  # whoever is shown the reply
    answer(runtime, repeated)
    assert provenance.of_answers(runtime.store, [repeated]).sets == {told, repeated}
    runtime.new_conversation()
    typed = says("and hers?", "ZEBRA4711 as well")
    answer(runtime, typed, "none of your business")
    assert provenance.of_answers(runtime.store, [typed]).sets == {typed}


def test_the_adapter_that_wrote_a_reply_is_kept(runtime, says, lora):
    base = says("hello", "hello")
    version = runtime.adapters.add(lora, SETTINGS, []).version
    runtime.adapters.promote(version, {}, "good")
    runtime.new_conversation()
    adapted = says("hello again", "ahoy")
    rows = runtime.store.rows("SELECT adapter_version FROM dialogue_sets WHERE id IN (?, ?) ORDER BY id", base, adapted)
    assert [row["adapter_version"] for row in rows] == [None, version]
    assert provenance.of_reply(runtime.store, adapted).adapters == {version}
    runtime.rollback()  # its words are in the conversation all the same
    assert provenance.of_reply(runtime.store, says("and now?", "ahoy")).adapters == {version}


def test_an_adapter_knows_what_its_parents_and_the_replies_it_learned_knew(runtime, lora):
    adapters, store = runtime.adapters, runtime.store
    first = adapters.add(lora, SETTINGS, [30]).version
    kept = runtime.observe("question", reply("answer", Provenance(frozenset([7]), frozenset([first]), first)))
    answer(runtime, kept.admission.id)
    child = adapters.add(lora, SETTINGS, [20], parent=first)
    learned = adapters.add(lora, SETTINGS, [kept.admission.id]).version
    assert child.parent_version == first and provenance.known_to(store, child.version) == {20, 30}
    assert provenance.known_to(store, learned) == {7, 30, kept.admission.id}
    assert provenance.versions_knowing(store, 30) == {first, child.version, learned}
    assert provenance.versions_knowing(store, 30, through_replies=False) == {first, child.version}


def test_a_warm_start_has_a_parent(runtime, lora, home):
    runtime.use_settings(replace(runtime.settings, warm_start=True))
    for i in range(6):
        runtime.observe(f"question {i} about bread", reply("a reply"))
    while prompt := runtime.next_prompt():
        runtime.queue.edit(prompt.id, "aaaa aaaa aaaa")
    start = runtime.adapters.add(lora, SETTINGS, [99]).version
    runtime.adapters.promote(start, {}, "good")
    adapter = runtime.learn().adapter
    assert adapter.parent_version == start and 99 in provenance.known_to(runtime.store, adapter.version)


def test_a_reply_written_from_what_another_process_forgot_meanwhile_is_not_kept(runtime, says):
    told = says("my locker?", "no idea")
    answer(runtime, told, "its code is ZEBRA4711")
    runtime.new_conversation()

    def forgotten_elsewhere(_):
        with Store(runtime.store.home) as other:
            from idletune.privacy import forget

            forget(other, Adapters(other, ""), told)

    with pytest.raises(AssertionError, match="was forgotten meanwhile"):
        says("which code?", "ZEBRA4711", forgotten_elsewhere)
    assert runtime.conversations.of().history == [] and [s.id for s in runtime.buffer.sets()] == []
    with pytest.raises(UsageError, match="was forgotten meanwhile"):
        runtime.observe("which code?", reply("ZEBRA4711", Provenance(frozenset([told]))))


def test_an_earlier_home_gets_what_its_adapters_are_known_to_know(home, monkeypatch):
    earlier = schema.MIGRATIONS[: schema.MIGRATIONS.index(schema.m007_provenance)]
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", earlier)
        with Store(home) as store, store.transaction() as db:
            for ids, settings in (("[1, 2]", "{}"), ("[3]", '{"warm_start": true}'), ("[4]", "{}"), ("x", "x")):
                add_earlier_adapter(db, ids, settings)
    with Store(home) as store:
        assert [provenance.known_to(store, version) for version in (1, 2, 3, 4)] == [{1, 2}, {1, 2, 3}, {4}, set()]
        assert store.row("SELECT parent_version FROM adapters WHERE version = 2")["parent_version"] == 1


def add_earlier_adapter(db: sqlite3.Connection, ids: str, settings: str) -> None:
    db.execute(
        "INSERT INTO adapters (file, base_sha256, created, rank, alpha, targets, dialogue_set_ids, settings, state)"
        " VALUES ('a', 'b', 1, 8, 16, 'q', ?, ?, 'retired')",
        (ids, settings),
    )


def reply(text, written_from=Provenance()):
    rows = np.random.default_rng(len(text)).standard_normal((2, 3, 64)).astype(np.float32)
    return Reply(text, [1], TokenEmbeddings(*rows), "end", 4, provenance=written_from)
