"""Forgetting a set reaches what came of it: replies, adapters, open conversations, files; and says what it cannot."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from idletune import privacy
from idletune.commands.cli import main
from idletune.errors import UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.runtime import Runtime
from idletune.state.contents import LEFT_OUT_TABLES
from idletune.state.copies import copies, record_adapter
from idletune.state.keyring import make_key
from idletune.state.store import Store
from idletune.training.lora import Lora
from loop import SETTINGS, answer, saying

MARKER = "ZEBRA4711"
KEY = b"k" * 32
RECALLING = replace(SETTINGS, retrieve=1, retrieve_tokens=0)


@pytest.fixture
def open_runtime(tiny_path, home):
    def opened(key=None, settings=RECALLING):
        return Runtime(home, tiny_path, settings, sequences=2, key=key)

    return opened


@pytest.fixture
def lora(tiny_path):
    return Lora(ModelShape.of(GgufFile(tiny_path)), "q,v", 2, 4).initialize(0)


def traces(folder, words=MARKER):
    """Files below a folder, and this process's files in memory, that hold these words."""
    in_memory = [fd for fd in Path("/proc/self/fd").iterdir() if os.path.lexists(fd) and "memfd" in os.readlink(fd)]
    files = [*(path for path in folder.rglob("*") if path.is_file()), *in_memory]
    return [path for path in files if words.encode() in path.read_bytes()]


def ids(runtime):
    return [s.id for s in runtime.buffer.sets()]


def locker(runtime):
    """A set whose answer holds the marker, and one whose accepted reply repeats it."""
    says = saying(runtime)
    told = says("my locker?", "no idea")
    answer(runtime, told, f"its code is {MARKER}")
    runtime.new_conversation()
    repeated = says("which code?", f"{MARKER}, as you told me")
    answer(runtime, repeated)
    return says, told, repeated


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_no_byte_is_left_of_a_marker_that_the_model_repeated(open_runtime, home, tmp_path, monkeypatch, key):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    with open_runtime(key) as runtime, open_runtime(key) as other:
        says, told, repeated = locker(runtime)
        unrelated = says("hello", f"{MARKER} again")  # written with its history before it
        runtime.new_conversation()
        elsewhere = saying(other)("what was my code?", f"{MARKER}!")
        assert ids(runtime) == [told, repeated, unrelated, elsewhere] and bool(traces(tmp_path)) == (key is None)
        assert runtime.preview_forget(told).sets == [told, repeated, unrelated, elsewhere] == ids(runtime)
        forgotten = runtime.forget(told)
        assert forgotten.sets == [told, repeated, unrelated, elsewhere] and ids(runtime) == []
        assert not traces(tmp_path)
        seen = []
        for each in (runtime, other):
            saying(each)("and now?", "nothing", seen.extend)
        assert len(seen) == 2 and MARKER not in json.dumps(seen)
        assert not traces(tmp_path)
    assert not traces(tmp_path)


def test_the_index_of_every_open_process_lets_go_of_it(open_runtime):
    with open_runtime() as runtime, open_runtime() as other:
        _, told, _ = locker(runtime)

        def indexed(each) -> str:
            return str(vars(each.retrieval.texts.index)).lower()

        for each in (runtime, other):
            assert each.retrieved("my locker?") and "zebra" in indexed(each)
        runtime.forget(told)
        assert "zebra" not in indexed(runtime)
        other.catch_up()
        assert "zebra" not in indexed(other)


def test_the_kv_cache_of_every_open_process_lets_go_of_it(open_runtime):
    with open_runtime() as runtime, open_runtime() as other:
        _, told, _ = locker(runtime)
        for each in (runtime, other):
            each.new_conversation()
            each.chat("my locker?")
            assert MARKER in each.model.detokenize(each.model.cached_tokens)
        runtime.forget(told)
        assert MARKER not in runtime.model.detokenize(runtime.model.cached_tokens)
        other.chat("hello")
        assert MARKER not in other.model.detokenize(other.model.cached_tokens)
        assert [m["content"] for m in other.conversations.of().history][::2] == ["hello"]


def test_your_own_answer_stays_and_the_reply_it_corrected_goes(open_runtime, home):
    with open_runtime() as runtime:
        says, told, repeated = locker(runtime)
        runtime.new_conversation()
        corrected = says("the code again?", f"{MARKER} I think")
        answer(runtime, corrected, "I will not say")
        forgotten = runtime.forget(told)
        assert (forgotten.sets, forgotten.replies) == ([told, repeated], [corrected])
        kept = runtime.buffer.get(corrected)
        assert (kept.question, kept.reply, kept.response) == ("the code again?", "", "I will not say")
        assert abs(float(kept.embedding @ kept.question_embedding) - 1) < 1e-3 and not traces(home)
        assert runtime.refresh_embeddings() and saying(runtime)("the code again?", "no") is not None


@pytest.mark.parametrize(
    "reach, gone, dropped",
    [("all", [1, 2, 3], [3, 2]), ("shown", [1, 2], [3, 2]), ("none", [1], [3])],
)
def test_how_far_it_reaches_is_the_users_choice(open_runtime, lora, reach, gone, dropped):
    with open_runtime() as runtime:
        says, told, repeated = locker(runtime)
        runtime.adapters.keep = 5
        clean, learned_it, knows = (runtime.adapters.add(lora, SETTINGS, [id]).version for id in (99, repeated, told))
        for version in (clean, learned_it, knows):
            runtime.adapters.promote(version, {}, "good")
        runtime.new_conversation()
        runtime.change_settings({"retrieve": 0})
        written = says("tell me something", "by an adapter that knew")
        assert [told, repeated, written] == [1, 2, 3]
        before = ids(runtime)
        planned = runtime.preview_forget(told, reach)
        assert (planned.sets, planned.dropped) == (gone, dropped) and ids(runtime) == before
        assert runtime.adapters.current().version == knows
        assert runtime.forget(told, reach) == planned and ids(runtime) == [id for id in before if id not in gone]
        assert runtime.adapters.current().version == (learned_it if reach == "none" else clean)
        if reach != "all":  # what was kept on purpose descends from it no more
            assert runtime.forget(before[-1]).sets == [written]
    with open_runtime() as runtime, pytest.raises(UsageError, match="use one of all, shown, none"):
        runtime.forget(told, "some")


def test_a_set_that_left_the_buffer_is_forgotten_in_its_descendants(open_runtime, home):
    with open_runtime() as runtime:
        _, told, repeated = locker(runtime)
        runtime.buffer.remove(told)  # as a replaced one goes
        assert runtime.forget(told).sets == [told, repeated] and ids(runtime) == [] and not traces(home)
        with pytest.raises(UsageError, match="nor anything that came of it"):
            runtime.forget(told)


def test_an_adapter_that_was_trained_on_from_one_that_knew_goes_too(open_runtime, lora):
    with open_runtime() as runtime:
        _, told, _ = locker(runtime)
        first = runtime.adapters.add(lora, SETTINGS, [told])
        runtime.adapters.promote(first.version, {}, "good")
        child = runtime.adapters.add(lora, SETTINGS, [99], parent=first.version)
        runtime.adapters.promote(child.version, {}, "good")
        assert runtime.forget(told).dropped == [child.version, first.version] and runtime.model.adapter is None
        assert not list(runtime.adapters.folder.iterdir())


def test_a_file_of_ours_that_is_adopted_knows_what_it_knew(open_runtime, lora, home, tmp_path):
    with open_runtime() as runtime:
        _, told, _ = locker(runtime)
        own = runtime.adapters.add(lora, SETTINGS, [told])
        runtime.adapters.promote(own.version, {}, "good")
        shutil.copyfile(own.path, tmp_path / "mine.gguf")
        adopted = runtime.adopt(tmp_path / "mine.gguf")
        assert adopted.parent_version == own.version and runtime.adapters.adopted() == adopted
        assert runtime.forget(told).dropped == [adopted.version, own.version]
        assert runtime.model.adapter is None is runtime.adapters.adopted() and not adopted.path.exists()
        with pytest.raises(UsageError, match="was forgotten"):
            runtime.adopt(tmp_path / "mine.gguf")


def test_a_recorded_copy_of_an_adapter_is_known_and_a_foreign_file_is_not(open_runtime, lora, tmp_path):
    with open_runtime() as runtime:
        own = runtime.adapters.add(lora, SETTINGS, [99])
        runtime.adapters.promote(own.version, {}, "good")
        shutil.copyfile(own.path, tmp_path / "copy.gguf")
        record_adapter(runtime.store, tmp_path / "copy.gguf", own.version, "cafe")
        assert runtime.adapters.own_version("cafe") == own.version
        assert runtime.adapters.own_version("f00d") is None is runtime.adapters.own_version("")
        assert runtime.forget(99).copies[0].path == tmp_path / "copy.gguf"


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_never_ask_leaves_no_word_in_any_file(open_runtime, home, key):
    with open_runtime(key) as runtime:
        unwanted = saying(runtime)(f"{MARKER}?", f"what is {MARKER}?")
        assert bool(traces(home)) == (key is None)
        prompt = runtime.next_prompt(lambda id: id == unwanted)
        runtime.queue.never_ask(prompt.id)
        assert not traces(home) and (home / "idletune.db-wal").exists()
        assert not runtime.store.counter("scrub_owed")


def test_never_ask_beside_a_reader_is_scrubbed_at_the_next_start(open_runtime, home, monkeypatch):
    with open_runtime() as runtime:
        unwanted = saying(runtime)(f"{MARKER}?", "what?")
        prompt = runtime.next_prompt(lambda id: id == unwanted)

        def read_by_another(store):
            raise UsageError("another IdleTune reads it")

        with monkeypatch.context() as patched:
            patched.setattr(Store, "scrub", read_by_another)
            runtime.queue.never_ask(prompt.id)
    with Store(home) as store:
        assert not traces(home) and not store.counter("scrub_owed")


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_forget_names_the_copies_that_were_written_before(open_runtime, home, tmp_path, key):
    secret = tmp_path / "secret-place"
    secret.mkdir()
    with open_runtime(key) as runtime:
        _, told, _ = locker(runtime)
        for name in ("first.jsonl", "second.jsonl"):
            privacy.export_data(runtime.store, secret / name)
        with pytest.raises(UsageError):
            privacy.export_data(runtime.store, secret / "first.jsonl")
        (secret / "first.jsonl").unlink()
        forgotten = runtime.forget(told)
        assert [copy.path.name for copy in forgotten.copies] == ["first.jsonl", "second.jsonl"]
        assert "first.jsonl (not there any more)" in str(forgotten) and str(forgotten).endswith("second.jsonl")
        privacy.export_data(runtime.store, secret / "third.jsonl")
        later = saying(runtime)("hello", "hello")
        assert runtime.forget(later).copies == []
        assert bool(traces(home, "secret-place")) == (key is None)
    assert MARKER in (secret / "second.jsonl").read_text()
    assert not traces(home, "secret-place") or key is None


def test_an_export_says_what_it_holds(open_runtime, tmp_path):
    with open_runtime() as runtime:
        says, told, repeated = locker(runtime)
        with runtime.store.transaction() as db:
            db.execute("INSERT INTO rounds (started, training, held_out) VALUES (1, '[1]', '[2]')")
            db.execute("INSERT INTO answer_losses VALUES (?, 'key', 2.5)", (told,))
        unwanted = saying(runtime)("never", "ever")
        runtime.queue.never_ask(runtime.next_prompt(lambda id: id == unwanted).id)
        count = privacy.export_data(runtime.store, tmp_path / "all.jsonl")
        tables = {row["name"] for row in runtime.store.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    contents, records = lines[0], [line["record"] for line in lines[1:]]
    assert len(lines) == count and contents["record"] == "contents"
    assert contents["holds"] == {"settings": 1, **{t: records.count(t) for t in tables - {*LEFT_OUT_TABLES}}}
    assert contents["holds"]["never_ask"] == contents["holds"]["rounds"] == contents["holds"]["answer_losses"] == 1
    sources = [(x["dialogue_set_id"], x["source_id"]) for x in lines if x["record"] == "dialogue_set_sources"]
    assert (repeated, told) in sources
    assert next(x for x in lines if x["record"] == "copies")["path"] == str(tmp_path / "all.jsonl")
    assert next(x for x in lines if x["record"] == "rounds")["training"] == [1]


def test_the_commands(open_runtime, home, tmp_path, capsys):
    key = tmp_path / "key"
    with open_runtime(make_key(key)) as runtime:
        _, told, repeated = locker(runtime)

    def run(*argv, code=0):
        assert main([*map(str, argv), "--key-file", str(key)]) == code
        said = capsys.readouterr()
        return said.out + said.err

    run("export-my-data", tmp_path / "all.jsonl")
    assert f"would forget: dialogue sets {told}, {repeated}" in run("forget", told, "--dry-run")
    assert f"would forget: dialogue set {told}\n" in run("forget", told, "--dry-run", "--descendants", "none")
    said = run("forget", told)
    assert (
        f"forgotten: dialogue sets {told}, {repeated}\n" in said and f"still hold it: {tmp_path / 'all.jsonl'}" in said
    )
    assert "all.jsonl" in run("copies") and "1 copies" in run("copies", "--erase-record")
    assert run("copies") == ""
    with Store(home, key=bytes.fromhex(key.read_text())) as store:
        assert copies(store) == []
