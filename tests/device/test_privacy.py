"""What is encrypted shows no word, what is forgotten is gone from every file, and what is kept can be read."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from idletune.commands.cli import main
from idletune.errors import UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.privacy import export_data
from idletune.runtime import Runtime
from idletune.state import event_log
from idletune.state.event_log import log
from idletune.state.home import OWN_FILES
from idletune.state.keyring import make_key
from idletune.state.store import Store
from loop import SETTINGS, answer_all, observe
from stops import InTraining

KEY = b"k" * 32
QUICK = replace(SETTINGS, epochs=4, paraphrases=1, rouge_least=0.0, rouge_most=1.0, system="you are Plumbus")
WORDS = (b"plumbus", b"Plumbus", b"about bread", b"a reply")


@pytest.fixture
def open_runtime(tiny_path, home):
    def opened(key=None, settings=QUICK):
        return Runtime(home, tiny_path, settings, sequences=2, key=key)

    return opened


def learned(runtime, count=6, start=0, text="secret is plumbus"):
    observe(runtime, count, start)
    answer_all(runtime, text)
    report = runtime.learn()
    assert report.verdict.promoted, report.verdict.reason
    return report.adapter


def traces(folder, words):
    return [p.name for p in folder.rglob("*") if p.is_file() and any(word in p.read_bytes() for word in words)]


def test_an_encrypted_run_shows_no_word_of_it(open_runtime, home, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(event_log, "EVENTS_KEPT", 1)
    looks = []

    def while_it_learns():  # with the log, the checkpoint and the served adapter on the disk
        looks.append(traces(tmp_path, WORDS))
        return False

    with open_runtime(KEY) as runtime:
        adapter = learned(runtime)
        assert runtime.chat("plumbus?").text is not None
        observe(runtime, 6, start=10)
        answer_all(runtime, "another plumbus")
        assert not runtime.learn(**InTraining().arguments).finished
        assert (home / "training.npz").is_file()
        vector = runtime.buffer.sets()[0].embedding.tobytes()
        runtime.learn(**InTraining(while_it_learns).arguments)
        assert looks and not any(looks)
        assert not traces(tmp_path, (*WORDS, vector, b"GGUF\3")) and (home / "idletune.db-wal").stat().st_size
        with runtime.adapters.readable(adapter) as path:
            assert GgufFile(path).metadata["adapter.type"] == "lora"
    assert not traces(tmp_path, (*WORDS, vector, b"GGUF\3"))
    with open_runtime(KEY) as runtime:
        assert runtime.model.adapter == runtime.adapters.current().path and runtime.status()["encrypted"]
        assert "secret is plumbus" in {s.response for s in runtime.buffer.sets()}


def test_a_plain_adapter_carries_no_word_of_the_user(open_runtime):
    with open_runtime() as runtime:
        path = learned(runtime).path
        assert not any(word in path.read_bytes() for word in WORDS)
        assert "system" not in json.loads(GgufFile(path).metadata["idletune.settings"])


def test_forgetting_falls_back_to_the_newest_clean_version(open_runtime, home):
    with open_runtime(settings=replace(QUICK, engine_tolerance=1.0)) as runtime:
        first = learned(runtime)
        runtime.adapters.keep = 5
        lora = runtime.pipeline().trainers.new_lora().initialize(1)
        second = runtime.adapters.add(lora, QUICK, [*first.dialogue_set_ids, 99])
        runtime.adapters.promote(second.version, {}, "good")
        runtime.buffer.mark_learned(first.dialogue_set_ids, second.version)
        assert runtime.forget(99).dropped == [second.version]  # long replaced, but known to the adapter
        assert runtime.model.adapter == first.path == runtime.adapters.current().path
        assert runtime.status()["answered"]["not_yet_learned"] == 0  # the clean version knows them
        assert runtime.store.counter("retrain_owed") == 1
        runtime.forget(first.dialogue_set_ids[0])
        assert runtime.adapters.current() is None and not list(runtime.adapters.folder.iterdir())
        assert runtime.status()["answered"]["not_yet_learned"] == 5
        with pytest.raises(UsageError, match="no dialogue set 99"):
            runtime.forget(99)


CUTS = {"before the files go": "_run_planned", "before the scrub": "scrub"}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_forgetting_that_is_cut_short_is_finished_at_the_next_start(open_runtime, home, monkeypatch, cut, key):
    with open_runtime(key) as runtime:
        adapter = learned(runtime)
        secret = runtime.buffer.sets()[0]
        (home / "training.npz").touch()

        def killed(store):
            if not store.db.in_transaction:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Store, CUTS[cut], killed)
            runtime.forget(secret.id)
    with open_runtime(key) as runtime:
        assert runtime.model.adapter is None and not adapter.path.exists()
        assert secret.id not in {s.id for s in runtime.buffer.sets()}
        assert not traces(home, (secret.question.encode(),))
        assert not runtime.store.counter("scrub_owed") and not (home / "training.npz").exists()


def test_forgotten_words_are_in_no_file(open_runtime, home):
    with open_runtime() as runtime:
        observe(runtime, 6)
        answer_all(runtime)
        prompt_text = b"only here: xylophone"
        runtime.observe("about xylophones", reply("only here: xylophone"))
        answer_all(runtime, "xylophone too")
        runtime.learn(**InTraining().arguments)
        gone = runtime.buffer.sets()[-1].id
        assert traces(home, (prompt_text,)) and (home / "training.npz").is_file()
        runtime.forget(gone)
        assert not traces(home, (b"xylophone",)) and not (home / "training.npz").exists()


def test_a_set_forgotten_by_another_process_is_not_learned(open_runtime, home):
    with open_runtime() as runtime, open_runtime() as other:
        observe(runtime, 6)
        answer_all(runtime)
        waiting = [runtime.buffer.sets()[0].id]

        def forget_amid_training():
            if waiting:
                other.forget(waiting.pop())
            return False

        report = runtime.learn(**InTraining(forget_amid_training).arguments)
        assert not report.finished and not (home / "training.npz").exists()
        assert runtime.learn().verdict.promoted
        other.chat("hello")
        assert other.model.adapter == runtime.model.adapter is not None
        other.forget(other.buffer.sets()[0].id)
        runtime.chat("hello")
        assert runtime.model.adapter is None


def test_an_adapter_whose_set_is_forgotten_in_the_gate_is_refused(open_runtime, monkeypatch):
    with open_runtime() as runtime, open_runtime() as other:
        observe(runtime, 6)
        answer_all(runtime)
        add = runtime.adapters.add

        def add_after_forgetting(self, *rest, **named):
            other.forget(runtime.buffer.sets()[0].id)
            return add(*rest, **named)

        monkeypatch.setattr("idletune.learning.adapters.Adapters.add", add_after_forgetting)
        with pytest.raises(UsageError, match="was forgotten while it was being learned from"):
            runtime.learn()
        assert not list(runtime.adapters.folder.iterdir()) and not runtime.adapters.all()


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_everything_kept_can_be_read(home, tmp_path, key):
    with Store(home, key=key) as store, store.transaction() as db:
        (home / "settings.json").write_text('{"bins": 7}')
        values = store.encrypt(
            "dialogue_sets", 1, question="why, Jürgen?", reply="so", domain="work", embedding=b"1234"
        )
        db.execute(
            "INSERT INTO dialogue_sets (created, domain, eoe, dss, idd, embedding, question, reply)"
            " VALUES (1, :domain, 0, 0, 0, :embedding, :question, :reply)",
            values,
        )
        db.execute(
            "INSERT INTO adapters (file, base_sha256, created, rank, alpha, targets, dialogue_set_ids, state)"
            " VALUES ('a', 'b', 1, 8, 16, 'q', '[1, 2]', 'retired')"
        )
        log(store, "forget", sets=[1])
    with Store(home, key=key) as store:
        assert export_data(store, tmp_path / "out.jsonl") == len((tmp_path / "out.jsonl").read_text().splitlines())
        with pytest.raises(UsageError, match="does not exist yet"):
            export_data(store, tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    text = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    lines = {line["record"]: line for line in map(json.loads, text.splitlines())}
    assert lines["settings"]["buffer_capacity"] == 7 and lines["adapters"]["dialogue_set_ids"] == [1, 2]
    assert lines["dialogue_sets"]["question"] == "why, Jürgen?" and "Jürgen" in text
    assert "embedding" not in text.split("\n", 1)[1] and lines["events"]["detail"] == {"sets": [1]}


@pytest.mark.parametrize("written", ["[" * 5000, '{"a": 1, "a": 2}', "[NaN, 1e999]"])
def test_what_the_user_wrote_is_exported_as_it_was_written(home, tmp_path, written):
    with Store(home) as store:
        with store.transaction() as db:
            db.execute(
                "INSERT INTO dialogue_sets (created, domain, eoe, dss, idd, embedding, question, reply)"
                " VALUES (1, 'work', 0, 0, 0, x'00', ?, ?)",
                (written, written),
            )
        export_data(store, tmp_path / "out.jsonl")
    lines = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    line = next(line for line in lines if line["record"] == "dialogue_sets")
    assert (line["question"], line["reply"]) == (written, written)


def test_every_line_of_an_export_is_strict_json(home, tmp_path):
    with Store(home) as store:
        log(store, "checkpoint", loss=float("nan"))
        export_data(store, tmp_path / "out.jsonl")

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    for line in (tmp_path / "out.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_full_disk_leaves_no_half_of_an_export(home, tmp_path):
    """A limit on the size of files stands in for the disk."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from idletune.state.store import Store\n"
        "from idletune.privacy import export_data\n"
        "with Store(sys.argv[1]) as store:\n"
        "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "    export_data(store, Path(sys.argv[2]))\n"
    )
    with Store(home) as store, store.transaction() as db:
        db.execute(
            "INSERT INTO dialogue_sets (created, domain, eoe, dss, idd, embedding, question, reply)"
            " VALUES (1, 'work', 0, 0, 0, x'00', ?, 'so')",
            ("plumbus " * 20_000,),
        )
    done = subprocess.run(
        [sys.executable, "-c", code, str(home), str(tmp_path / "out.jsonl")], capture_output=True, text=True
    )
    assert "it takes 1 MB; free some storage" in done.stderr and not (tmp_path / "out.jsonl").exists(), done.stderr


def test_the_commands(home, tmp_path, capsys, tiny_path, monkeypatch):
    def run(*argv, code=0):
        assert main([str(a) for a in argv]) == code
        said = capsys.readouterr()
        return said.out + said.err

    assert "no state in" in run("forget", 1, code=2)
    run("status", "--model", tiny_path)
    with Store(home) as store, store.transaction() as db:
        db.execute(
            "INSERT INTO dialogue_sets (created, domain, eoe, dss, idd, embedding, question, reply)"
            " VALUES (1, 'work', 0, 0, 0, ?, 'plumbus', 'plumbus')",
            (np.zeros(64, "<f4").tobytes(),),
        )
    key, other = tmp_path / "key", tmp_path / "other"
    assert f"--key-file {key}" in run("rotate-key", "--new-key-file", key)
    assert not traces(home, (b"plumbus",))
    assert "give its key" in run("export-my-data", tmp_path / "all.jsonl", code=2)
    run("rotate-key", "--key-file", key, "--new-key-file", other)
    assert "wrong key" in run("status", "--model", tiny_path, "--key-file", key, code=2)
    assert "encrypted" in run("status", "--model", tiny_path, "--key-file", other)
    run("export-my-data", tmp_path / "all.jsonl", "--key-file", other)
    assert "plumbus" in (tmp_path / "all.jsonl").read_text()
    assert "forgotten" in run("forget", 1, "--key-file", other)
    assert "no dialogue set 1" in run("forget", 1, "--key-file", other, code=2)
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert "nothing was erased" in run("erase", code=2) and (home / OWN_FILES[0]).exists()
    assert "erased" in run("erase", "--yes") and not home.exists()
    assert make_key(tmp_path / "new")


def reply(text):
    from idletune.dialogue import TokenEmbeddings
    from idletune.model.reply import Reply

    rows = np.random.default_rng(7).standard_normal((2, 3, 64)).astype(np.float32)
    return Reply(text, [1], TokenEmbeddings(*rows), "end", 4)
