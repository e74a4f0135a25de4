"""int8 weights in a home: made before training, used by it, dropped when storage is short."""

from dataclasses import replace

import pytest
from idletune.learning.cancellation import Cancelled
from idletune.learning.trainers import Trainers
from idletune.progress import no_bars
from idletune.state.home import QUANTIZED, erase, stored_bytes
from idletune.training.int8_files import TOGETHER, Int8Files
from idletune.training.lora import Lora
from idletune.training.objective import TrainingData
from loop import SETTINGS, open_tiny_runtime
from tiny_model import write_tiny_model

INT8 = replace(SETTINGS, matmul_dtype="int8")


@pytest.fixture
def runtime(tiny_path, home):
    with open_tiny_runtime(tiny_path, home)() as runtime:
        yield runtime


def trainers(runtime, **changes) -> Trainers:
    return Trainers(runtime.adapters, runtime.model, replace(INT8, **changes))


def no_check():
    return None


def test_files_are_made_once_counted_and_removed_by_the_setting(runtime):
    home, first = runtime.store.home, trainers(runtime)
    first.prepare(no_bars, no_check)
    files = {path: path.stat().st_mtime_ns for path in (home / QUANTIZED / runtime.model.sha256).iterdir()}
    assert first.plan(first.new_lora()).mapped and files
    trainers(runtime).prepare(no_bars, no_check)
    assert all(path.stat().st_mtime_ns == made for path, made in files.items())
    assert runtime.status()["quantized_mb"] == round(stored_bytes(home) / 1e6, 1) and stored_bytes(home)
    without = trainers(runtime, int8_files=False)
    without.prepare(no_bars, no_check)
    assert stored_bytes(home) == 0 and not without.plan(without.new_lora()).mapped


def test_a_fleets_adapter_trains_from_them_where_all_that_it_needs_are_there(runtime):
    made, home = trainers(runtime), runtime.store.home
    examples = [runtime.model.encode_exchange("a question", "an answer")]
    top = Lora.from_settings(made.shape, replace(INT8, top_share=0.5))
    every = Lora.from_settings(made.shape, replace(INT8, top_share=1.0))
    assert "the frozen layers" not in made.trainer_of(top, examples).layers.arithmetic and stored_bytes(home) == 0
    trainers(runtime, top_share=0.5).prepare(no_bars, no_check)
    stored = stored_bytes(home)
    assert "the frozen layers" in made.trainer_of(top, examples).layers.arithmetic
    assert "the frozen layers" not in made.trainer_of(every, examples).layers.arithmetic  # the lower ones lack a side
    assert stored_bytes(home) == stored


@pytest.mark.parametrize(("architecture", "factor"), [("llama", 1), ("gemma3", 0.25)])
def test_a_family_trains_at_its_own_rate(tmp_path, architecture, factor):
    path = write_tiny_model(tmp_path / "tiny.gguf", architecture=architecture)
    with open_tiny_runtime(path, tmp_path / "home")() as opened:
        example = opened.model.encode_exchange("a question", "an answer")
        trainer, _ = trainers(opened, int8_files=False).trainer(TrainingData([example]))
    assert trainer.settings.learning_rate == INT8.learning_rate * factor


def test_making_them_can_be_stopped_before_the_last(runtime):
    def stop():
        if stored_bytes(runtime.store.home):
            raise Cancelled

    stopped = trainers(runtime)
    files = stopped._int8_files(stopped.new_lora())
    with pytest.raises(Cancelled):
        stopped.prepare(no_bars, stop)
    assert len(files.missing()) == len(files.units) - TOGETHER - 1


def test_files_of_another_base_model_go(runtime):
    other = runtime.store.home / QUANTIZED / ("0" * 64)
    other.mkdir(parents=True)
    (other / "output-000.int8").write_bytes(b"x")
    trainers(runtime).prepare(no_bars, no_check)
    assert not other.exists()


def test_short_storage_drops_them_and_training_goes_on_without(runtime):
    home = runtime.store.home
    trainers(runtime).prepare(no_bars, no_check)
    short = trainers(runtime, window_disk_mb=2**24)
    short.prepare(no_bars, no_check)
    assert stored_bytes(home) == 0 and not short.plan(short.new_lora()).mapped


def test_storage_that_takes_nothing_is_no_error(runtime, monkeypatch):
    def refuse(self, name):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Int8Files, "make", refuse)
    refused = trainers(runtime)
    refused.prepare(no_bars, no_check)
    assert not refused.plan(refused.new_lora()).mapped
    examples = [runtime.model.encode_exchange("a question", "an answer")]
    trainer, plan = trainers(runtime).trainer(TrainingData(examples))
    assert not plan.mapped and plan.int8 and trainer.layers.arithmetic.startswith("int8")


def test_erase_takes_them_too(runtime):
    trainers(runtime).prepare(no_bars, no_check)
    home = runtime.store.home
    runtime.close()
    assert any(name.startswith(QUANTIZED) for name in erase(home)) and not home.exists()
