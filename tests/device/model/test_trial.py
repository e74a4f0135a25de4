"""Files that would end the process in llama.cpp: refused by what is known of them, or tried in another process."""

import os
import random
import subprocess
import sys
from pathlib import Path

import gguf
import mutated_gguf
import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.model import trial, tried_models
from idletune.model.base_model import BaseModel
from idletune.model.trial import OPENING
from mutated_gguf import STRING, Editable
from tiny_model import write_tiny_model

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3")
MUTATIONS = 400  # of each


@pytest.fixture
def fresh(monkeypatch):
    """No file was tried yet by this process; returns the commands of the processes that are started."""
    started, run = [], subprocess.run
    monkeypatch.setattr(tried_models, "_tried_here", set())
    monkeypatch.setattr(trial.subprocess, "run", lambda *a, **k: started.append(a[0]) or run(*a, **k))
    return started


def keys() -> list[str]:
    """The metadata keys that the format knows, as the gguf package lists them."""
    groups = [value for value in vars(gguf.constants.Keys).values() if isinstance(value, type)]
    return sorted(text for group in groups for text in vars(group).values() if isinstance(text, str) and "." in text)


@pytest.mark.slow
def test_no_mutated_file_ends_the_process_that_checks_it_first(tmp_path):
    """Not even one that no trial has seen. An architecture that is not trained may, by an assert of its own: those
    are left out here, as trials are for them (see below)."""
    rng, known, changes, paths = random.Random(27), keys(), {}, []
    for architecture in ARCHITECTURES:
        base = write_tiny_model(tmp_path / architecture, architecture=architecture, window=16)
        for n in range(MUTATIONS):
            file, path = Editable(base), tmp_path / f"{architecture}-{n}.gguf"
            times = rng.choice([1, 1, 2])
            changes[str(path)] = [file.mutate(rng, architecture, known, list(ARCHITECTURES)) for _ in range(times)]
            paths.append(str(file.write(path)))
    environment = os.environ | {"GGML_NO_BACKTRACE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, mutated_gguf.__file__]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, env=environment)
    last = [line for line in done.stdout.splitlines() if line.endswith(".gguf")][-1]
    assert done.returncode == 0, (changes[last], done.stderr[-300:])
    outcomes = done.stdout.splitlines()
    assert outcomes.count("opened") > 300 and sum(line.startswith("refused") for line in outcomes) > 600


def dying(tmp_path) -> Path:
    """A file that passes the checks and ends the process in llama.cpp: a mixture of experts without any."""
    file = Editable(write_tiny_model(tmp_path / "base"))
    file.change_architecture(random.Random(0), "llama", [], ["smallthinker"])
    return file.write(tmp_path / "dies.gguf")


def test_a_file_that_ends_a_process_is_refused_with_the_reason_and_tried_again(tmp_path, fresh):
    path = dying(tmp_path)
    for count in (1, 2):
        with pytest.raises(DamagedDataError, match="does not survive dies.gguf .*n_expert must be > 0.*another model"):
            BaseModel(path, context_tokens=128, sequences=1)
        assert len(fresh) == count


def test_a_file_that_computes_nonsense_is_refused(tmp_path):
    base = write_tiny_model(tmp_path / "base", default="F32")
    file, data = GgufFile(base), bytearray(base.read_bytes())
    tensor = file.tensor("blk.0.ffn_down.weight")
    data[tensor.offset : tensor.offset + tensor.bytes] = np.full(tensor.shape, np.nan, np.float32).tobytes()
    (tmp_path / "nan.gguf").write_bytes(data)
    with pytest.raises(DamagedDataError, match="nan.gguf: it computes no finite numbers; use another model"):
        BaseModel(tmp_path / "nan.gguf", context_tokens=128, sequences=1)


def test_in_an_app_no_process_is_started_and_known_kinds_are_refused(tiny_path, tmp_path, fresh, monkeypatch):
    for executable in ("", "/system/bin/app_process64", str(tmp_path / "python3")):
        monkeypatch.setattr(sys, "executable", executable)
        monkeypatch.setattr(tried_models, "_tried_here", set())
        BaseModel(tiny_path, context_tokens=128, sequences=1, threads=1).close()
        broken = Editable(tiny_path).set("tokenizer.ggml.model", STRING, b"none").write(tmp_path / "none.gguf")
        with pytest.raises(DamagedDataError, match="the tokenizer 'none'"):
            BaseModel(broken, context_tokens=128, sequences=1)
    assert not fresh


@pytest.mark.parametrize(
    ("code", "output"),
    [(-9, OPENING), (-15, OPENING), (-6, ""), (-4, ""), (1, ""), (2, OPENING)],
    ids=["killed", "stopped", "died before the file", "another processor", "no such package", "an error"],
)
def test_a_child_that_ends_for_another_reason_says_nothing_of_the_file(tiny_path, monkeypatch, fresh, code, output):
    ended = subprocess.CompletedProcess([], code, output.encode(), b"")
    monkeypatch.setattr(trial.subprocess, "run", lambda *a, **k: fresh.append(a) or ended)
    for count in (1, 2):  # and it is not remembered
        BaseModel(tiny_path, context_tokens=128, sequences=1, threads=1).close()
        assert len(fresh) == count


def test_a_file_that_does_not_open_in_time_is_refused(tiny_path, monkeypatch, fresh):
    def run(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(trial.subprocess, "run", run)
    with pytest.raises(UsageError, match="did not open within 300 s"):
        BaseModel(tiny_path, context_tokens=128, sequences=1)
