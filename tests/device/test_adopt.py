"""An adapter made elsewhere is served, and training goes on from it."""

import shutil

import numpy as np
import pytest
from idletune.errors import IdleTuneError
from idletune.learning.night import ADOPTED
from idletune.model.gguf_file import GgufFile, write_gguf
from idletune.runtime import Runtime
from idletune.settings import Settings
from idletune.training.lora import Lora, read_adapter
from idletune.training.shape import ModelShape
from loop import answer_all, observe, open_tiny_runtime

SETTINGS = Settings(threads=1, rank=4, alpha=8.0, quiet_from=0, quiet_until=0)


@pytest.fixture
def runtime(tiny_path, tiny_graphs, home):
    shutil.copytree(tiny_graphs.folder, home / "graphs")
    with Runtime(home, tiny_path, SETTINGS, sequences=1) as runtime:
        yield runtime


def write(path, shape, targets="q,k,v,o", rank=4, alpha=16.0):
    lora = Lora(shape, targets, rank, alpha).initialize(0)
    lora.flat += np.random.default_rng(1).standard_normal(lora.size).astype(np.float32) * 0.1
    metadata = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    metadata["adapter.lora.alpha"] = alpha
    write_gguf(path, metadata, lora.tensors())
    return lora


@pytest.fixture
def shape(tiny_path):
    return ModelShape.of(GgufFile(tiny_path))


@pytest.mark.parametrize("form", [{}, {"rank": 2}, {"targets": "q,up"}])
def test_it_is_served_and_training_starts_from_it_in_its_own_form(runtime, shape, tmp_path, form):
    theirs = write(tmp_path / "server.gguf", shape, **form)
    adapter = runtime.adopt(tmp_path / "server.gguf")
    assert runtime.model.adapter == adapter.path and adapter.reason == "adopted from server.gguf"
    assert (read_adapter(adapter.path, shape).flat == theirs.flat).all()
    ours = runtime._learning()._new_lora()
    assert (ours.rank, ours.names, ours.first, ours.scale) == (theirs.rank, theirs.names, theirs.first, theirs.scale)
    assert (ours.flat == theirs.flat).all()


def test_it_is_trained_further(tiny_path, tiny_graphs, home, shape, tmp_path):
    theirs = write(tmp_path / "server.gguf", shape, rank=2, targets="q,up")
    with open_tiny_runtime(tiny_path, tiny_graphs, home)() as runtime:
        runtime.adopt(tmp_path / "server.gguf")
        observe(runtime, 10)
        answer_all(runtime)
        report = runtime.learn()
        assert report.verdict.promoted, report.verdict.reason
        trained = read_adapter(report.adapter.path, shape)
    assert (trained.rank, trained.names, trained.first) == (2, theirs.names, 0)
    assert 0.01 < np.abs(trained.flat - theirs.flat).max() < 1


def test_rolling_back_gives_it_up(runtime, shape, tmp_path):
    write(tmp_path / "server.gguf", shape)
    runtime.adopt(tmp_path / "server.gguf")
    assert runtime.rollback() is None and runtime.model.adapter is None
    assert not (runtime.store.home / ADOPTED).exists()


def test_what_does_not_fit_changes_nothing(runtime, shape, tiny_path, tmp_path):
    write(tmp_path / "server.gguf", shape)
    (tmp_path / "half.gguf").write_bytes((tmp_path / "server.gguf").read_bytes()[:-400])
    for path in (tmp_path / "half.gguf", tiny_path):
        with pytest.raises(IdleTuneError, match="missing|fewer bits"):
            runtime.adopt(path)
    assert runtime.adapters.all() == [] and not (runtime.store.home / ADOPTED).exists()
