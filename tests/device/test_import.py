"""Imported conversations: previewed, taken once, within their share, with an origin of their own, forgotten by file."""

import json
import random

import pytest
from chat_samples import ME, SAMPLES, WHATSAPP, lines
from idletune.chat_files import Source, open_chat_file
from idletune.errors import DamagedDataError, UsageError
from idletune.learning.answered import answered_sets
from idletune.learning.monitoring import answers_since
from idletune.runtime import Runtime
from idletune.settings import Settings
from idletune.state.imports import imports
from idletune.state.origins import IMPORT

SETTINGS = Settings(threads=1, buffer_capacity=8, import_share=0.5, quiet_from=0, quiet_until=0, daily_limit=100)
KEY = bytes(range(32))


@pytest.fixture
def opened(tiny_path, home):
    def runtime(settings=SETTINGS, key=None):
        return Runtime(home, tiny_path, settings, sequences=2, key=key)

    return runtime


def source(count: int, start: int = 0):
    records = [{"question": f"question {n} of bread", "response": f"answer {n}"} for n in range(start, start + count)]
    return open_chat_file(Source("talk.jsonl", data=lines(*records)))


def imported(runtime, file, mode="answers", me=""):
    *_, done = runtime.import_conversations(file, runtime.preview_import(file, me), mode, me)
    return done


def test_a_preview_tells_what_there_is_and_keeps_nothing(opened):
    with opened() as runtime:
        found = runtime.preview_import(open_chat_file(Source("chat.txt", data=WHATSAPP.encode())), "Ben Lee")
        assert not len(runtime.buffer) and not imports(runtime.store)
    assert (found.format, found.exchanges, found.to_read) == ("a WhatsApp chat", 2, 2)
    assert found.examples[0].question == "Is the bakery open?\nOn Sunday I mean" and found.first < found.last
    assert found.skipped["media, or a deleted message"] == (1, "chat.txt line 7")
    assert json.loads(json.dumps(found.to_dict()))["skipped"][0]["count"] == 1


def test_answers_are_the_users_and_say_where_they_came_from(opened):
    with opened() as runtime:
        done = imported(runtime, source(3))
        kept = runtime.buffer.sets()
        assert (done.taken, done.kept, done.finished) == (3, 3, True)
        assert [(s.question, s.response) for s in kept][0] == ("question 0 of bread", "answer 0")
        assert {(s.origin, s.answer_origin) for s in kept} == {(IMPORT, IMPORT)}
        assert len(answered_sets(runtime.buffer)) == 3 and runtime.next_prompt() is None
        assert runtime.retrieval.has_any()


def test_a_stream_is_a_conversation_that_may_be_asked_about(opened):
    with opened() as runtime:
        imported(runtime, source(3), "stream")
        assert not answered_sets(runtime.buffer) and len(runtime.queue.pending()) == 3
        prompt = runtime.next_prompt()
        runtime.queue.edit(prompt.id, "my own words", "terminal")
        (answer,) = answered_sets(runtime.buffer)
        assert (answer.origin, answer.answer_origin) == (IMPORT, "terminal")


def test_nothing_is_taken_twice(opened):
    with opened() as runtime:
        imported(runtime, source(3))
        again = runtime.preview_import(source(5))
        assert again.exchanges == 2 and again.skipped["imported before"][0] == 3
        assert imported(runtime, source(5)).taken == 2
        assert imported(runtime, source(5), "stream").taken == 0 and len(imports(runtime.store)) == 2
        spelled = open_chat_file(Source("x", data=lines({"question": "QUESTION 1  of bread", "response": "answer 1"})))
        assert runtime.preview_import(spelled).exchanges == 0


def test_imports_take_their_share_and_leave_the_rest(opened):
    with opened() as runtime:
        runtime.observe_exchange("what do I say?", "something of my own")
        own = runtime.buffer.sets()[0].id
        done = imported(runtime, source(40))
        kept = runtime.buffer.sets()
        assert sum(s.origin == IMPORT for s in kept) == 4 == done.kept and done.taken == 40
        assert own in {s.id for s in kept}
        assert imports(runtime.store)[0].kept == 4 and imports(runtime.store)[0].taken == 40


def test_typed_answers_stay_and_imported_ones_make_room(opened):
    with opened() as runtime:
        imported(runtime, source(8))
        for n in range(20):
            runtime.observe_exchange(f"what about {n}?", "this")
            if (prompt := runtime.next_prompt()) is not None:
                runtime.queue.edit(prompt.id, f"typed {n}")
        typed = [s for s in runtime.buffer.sets() if s.answer_origin != IMPORT and s.response]
        imported(runtime, source(30, 100))
        assert {s.id for s in typed} <= {s.id for s in runtime.buffer.sets()} and len(runtime.buffer) <= 8
        assert 2 <= len(typed)


def test_of_a_long_past_some_are_read_spread_evenly(opened):
    with opened(Settings(threads=1, import_limit=5)) as runtime:
        preview = runtime.preview_import(source(50))
        assert (preview.exchanges, preview.to_read) == (50, 5)
        imported(runtime, source(50))
        assert [s.question for s in runtime.buffer.sets()] == [f"question {n} of bread" for n in (9, 19, 29, 39, 49)]


def test_a_long_file_is_stopped_and_goes_on_where_it_stood(opened):
    with opened() as runtime:
        file = source(6)
        steps = runtime.import_conversations(file, runtime.preview_import(file))
        next(steps), next(steps)
        steps.close()
        assert imports(runtime.store)[0].finished is None and imports(runtime.store)[0].taken == 2
        assert imported(runtime, source(6)).taken == 4


def test_all_of_a_file_is_forgotten_and_may_come_again(opened, home):
    with opened() as runtime:
        imported(runtime, source(3))
        runtime.observe_exchange("what do I say?", "something of my own")
        (record,) = imports(runtime.store)
        gone = runtime.buffer.sets()[0]
        runtime.forget(gone.id)
        assert runtime.preview_import(source(3)).exchanges == 0  # what was forgotten does not come back by itself
        report = runtime.forget_import(record.id)
        assert len(report.sets) == 2 and gone.id not in report.sets and not imports(runtime.store)
        assert [s.question for s in runtime.buffer.sets()] == ["what do I say?"]
        assert runtime.preview_import(source(3)).exchanges == 3
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"of bread" not in everything and b"talk.jsonl" not in everything


def test_with_a_key_names_are_encrypted_and_digests_keyed(opened, home):
    with opened() as runtime:
        imported(runtime, source(2))
        plain = runtime.store.rows("SELECT digest FROM imported_exchanges")[0][0]
        runtime.rotate_key(KEY)
        assert runtime.store.row("SELECT 1 FROM imported_exchanges WHERE digest = ?", plain) is None
        assert runtime.preview_import(source(3)).exchanges == 1
        assert imports(runtime.store)[0].name == "talk.jsonl"
    with opened(key=KEY) as runtime:
        assert runtime.preview_import(source(3)).exchanges == 1
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"talk.jsonl" not in everything and b"of bread" not in everything


def test_answers_of_the_past_do_not_judge_an_adapter(opened):
    class Version:
        dialogue_set_ids = ()

    with opened() as runtime:
        imported(runtime, source(3))
        runtime.observe_exchange("what do I say?", "this")
        runtime.queue.edit(runtime.next_prompt().id, "typed")
        assert [s.response for s in answers_since(runtime.store, runtime.buffer, Version(), None)] == ["typed"]


def test_what_is_too_large_is_skipped(opened):
    with opened() as runtime:
        big = open_chat_file(Source("x", data=lines({"question": "q" * 20_000, "response": "a" * 20_000})))
        found = runtime.preview_import(big)
        assert found.exchanges == 0 and list(found.skipped) == ["too large for a dialogue set (bin_bytes)"]


def test_what_is_longer_than_the_context_is_read_as_far_as_it_goes(opened):
    with opened() as runtime:
        long = open_chat_file(Source("x", data=lines({"question": "what " * 1500, "response": "this " * 1500})))
        assert imported(runtime, long).kept == 1


def test_a_file_that_changes_while_it_is_read_says_what_was_kept(opened, tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_bytes(source(3).source.data)
    with opened() as runtime:
        file = open_chat_file(Source.of(path))
        preview = runtime.preview_import(file)
        path.write_bytes(lines({"question": "question 0 of bread", "response": "answer 0"}) + b"{oops\n")
        with pytest.raises(
            DamagedDataError, match="line 2.*1 exchanges were imported before .idletune forget --source 1"
        ):
            list(runtime.import_conversations(file, preview))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_imported(opened, name):
    data, count = SAMPLES[name]
    with opened() as runtime:
        done = imported(runtime, open_chat_file(Source("talk", data=data)), me=ME.get(name, ""))
        assert done.taken == count and imports(runtime.store)[0].format == name


def test_a_mode_that_is_none(opened):
    with opened() as runtime, pytest.raises(UsageError, match="use one of answers, stream"):
        imported(runtime, source(1), "questions")


def test_thoughts_are_not_learned(opened):
    records = [
        {"question": "a", "response": "<think>\nhm\n</think>\n\nb"},
        {"question": "c", "response": "<think>hm</think>"},
    ]
    with opened() as runtime:
        file = open_chat_file(Source("x", data=lines(*records)))
        preview = runtime.preview_import(file)
        assert list(preview.skipped) == ["a think block without an answer"]
        imported(runtime, file)
        assert [(s.reply, s.response) for s in runtime.buffer.sets()] == [("b", "b")]


@pytest.mark.parametrize("name", SAMPLES)
def test_of_a_damaged_file_nothing_is_kept(opened, name):
    data, rng = SAMPLES[name][0], random.Random(name)
    with opened() as runtime:
        for _ in range(12):
            at = rng.randrange(len(data))
            damaged = rng.choice((data[:at], data[:at] + rng.randbytes(3) + data[at:]))
            try:
                file = open_chat_file(Source("talk", data=damaged))
                imported(runtime, file, me=ME.get(name, ""))
            except (UsageError, DamagedDataError) as refused:
                assert "\n" not in str(refused)
                assert not len(runtime.buffer) and not imports(runtime.store)
            for record in imports(runtime.store):
                runtime.forget_import(record.id)
