"""What is remembered of model files between starts: that they were tried, and their digests."""

import json

import pytest
from idletune.formats.gguf_file import sha256
from idletune.model import trial, tried_models
from idletune.runtime import Runtime
from idletune.settings import Settings
from tiny_model import write_tiny_model


@pytest.fixture
def start(home, monkeypatch):
    """Starts a runtime as another process does; returns the digest that its adapters are for."""

    def run(path) -> str:
        monkeypatch.setattr(tried_models, "_tried_here", set())
        with Runtime(home, path, Settings(context_tokens=128, threads=1)) as runtime:
            return runtime.adapters.base_sha256

    return run


@pytest.fixture
def trials(monkeypatch):
    """The models that were tried; none of them in a process."""
    tried = []
    monkeypatch.setattr(tried_models, "survives", lambda path, *_: tried.append(path) or True)
    return tried


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed."""
    found = []
    monkeypatch.setattr(tried_models, "sha256", lambda *paths: found.extend(paths) or sha256(*paths))
    return found


def test_a_file_is_tried_and_hashed_once_in_a_home_and_again_when_it_changed(tmp_path, home, start, trials, hashed):
    path = write_tiny_model(tmp_path / "m.gguf")
    assert start(path) == start(path) == sha256(path)
    assert len(trials) == len(hashed) == 1
    record = home / "tried_models.json"
    assert record.stat().st_mode & 0o777 == 0o600 and str(tmp_path) not in record.read_text()
    write_tiny_model(path, seed=1)
    assert start(path) == sha256(path)
    assert len(trials) == len(hashed) == 2


@pytest.mark.parametrize("text", ['{"not": ["a list"', '{"tried": 1, "sha256": {"a": 1}}', '"text"', "\x00"])
def test_a_damaged_record_is_written_anew(tmp_path, home, start, trials, hashed, text):
    path = write_tiny_model(tmp_path / "m.gguf")
    start(path)
    (home / "tried_models.json").write_text(text)
    assert start(path) == start(path) == sha256(path)
    assert len(trials) == len(hashed) == 2


def test_the_record_of_an_earlier_version_is_read(tmp_path, home, start, trials, hashed):
    path = write_tiny_model(tmp_path / "m.gguf")
    start(path)
    record = home / "tried_models.json"
    record.write_text(json.dumps(json.loads(record.read_text())["tried"]))
    assert start(path) == start(path) == sha256(path)
    assert len(trials) == 1 and len(hashed) == 2


def test_a_digest_alone_does_not_vouch_for_a_trial(tmp_path, trials):
    path = write_tiny_model(tmp_path / "m.gguf")
    for _ in range(2):  # as the ONNX backend does, which opens no file in llama.cpp
        known = tried_models.TriedModels(tmp_path / "record.json")
        known.sha256(path)
        known.save()
    known.ensure(path, 128, 2)
    assert len(trials) == 1


def test_a_process_is_started_once(tmp_path, start, monkeypatch):
    started, run = [], trial.subprocess.run
    monkeypatch.setattr(trial.subprocess, "run", lambda *a, **k: started.append(a) or run(*a, **k))
    path = write_tiny_model(tmp_path / "m.gguf")
    start(path)
    start(path)
    assert len(started) == 1
