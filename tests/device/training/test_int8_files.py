"""int8 weights in files: the same bits as in memory, whatever happens to the files."""

import os
import signal
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
from idletune.errors import DamagedDataError
from idletune.formats.array_file import ArrayFile, ArrayWriter
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.settings import Settings
from idletune.state.home import QUANTIZED, remove_stored, stored_bytes
from idletune.training.int8_files import SUFFIX, Int8Files, file_bytes
from idletune.training.layers import Layers
from idletune.training.lora import Lora
from idletune.training.packing import pack
from idletune.training.trainer import Trainer, evaluate
from idletune.training.weights import Weights
from tiny_model import write_tiny_model

pytestmark = pytest.mark.slow

SETTINGS = Settings(epochs=3, min_steps=0, sequence_tokens=48, learning_rate=3e-3)


def random_examples(vocabulary, lengths, seed=0):
    from idletune.examples import Example

    rng, made = np.random.default_rng(seed), []
    for n in lengths:
        tokens = rng.integers(0, vocabulary, n).astype(np.int32)
        made.append(Example(tokens, np.where(np.arange(n) < n // 2, -100, tokens).astype(np.int32)))
    return made


@pytest.fixture(scope="module")
def deep_path(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("deep") / "deep.gguf", layers=4)


def make_files(path, folder):
    file = GgufFile(path)
    shape = ModelShape.of(file)
    lora = Lora(shape, "q,gate,up,down", 4, 8, top_layers=2).initialize(0)
    return Int8Files(folder, Weights(file, shape, threads=1), lora), lora


def make_layers(path, folder=None, recompute=0):
    """Layers on int8 weights in files, or in memory where there is no folder."""
    files, lora = make_files(path, folder)
    mapped = files.map() if folder else None
    weights = Weights(GgufFile(path), lora.shape, threads=1)
    on_int8 = {"int8": True, "int8_head": True, "int8_frozen": True}
    return Layers(weights, lora, threads=1, recompute=recompute, mapped=mapped, **on_int8)


def make_trainer(path, folder=None, checkpoint=None, recompute=0):
    layers = make_layers(path, folder, recompute)
    return Trainer(layers, random_examples(layers.shape.vocabulary, (20, 30, 11, 25)), SETTINGS, checkpoint)


def test_arrays_come_back_and_a_changed_byte_is_noticed(tmp_path):
    arrays = {"a": np.arange(7, dtype=np.int8), "b.c": np.ones((3, 5), np.float32), "none": np.empty((0, 2), np.int8)}
    path = tmp_path / "x.int8"
    with ArrayWriter(path) as writer:
        for name, array in arrays.items():
            writer.add(name, array)
    file = ArrayFile(path)
    assert file.arrays.keys() == arrays.keys() and file.bytes == path.stat().st_size
    for name, array in arrays.items():
        np.testing.assert_array_equal(file.arrays[name], array)
        assert file.arrays[name].dtype == array.dtype and not file.arrays[name].flags.writeable
    file.release()
    np.testing.assert_array_equal(file.arrays["b.c"], arrays["b.c"])
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[1:], b"\1" + whole[1:], whole + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(DamagedDataError, match="made anew"):
            ArrayFile(path)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="No space"), ArrayWriter(tmp_path / "x.int8") as writer:
        writer.add("a", np.zeros(9, np.int8))
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recompute", [0, 2, 99])
def test_training_from_files_gives_the_bits_of_training_in_memory(deep_path, tmp_path, recompute):
    in_memory, from_files = make_trainer(deep_path), make_trainer(deep_path, tmp_path, recompute=recompute)
    assert in_memory.run().losses == from_files.run().losses
    assert in_memory.lora.flat.tobytes() == from_files.lora.flat.tobytes()
    assert in_memory.layers.arithmetic == from_files.layers.arithmetic == "int8 with the head and the frozen layers"


def test_losses_are_float32_whatever_training_runs_on(deep_path, tmp_path):
    layers = make_layers(deep_path, tmp_path)
    plain = Layers(Weights(GgufFile(deep_path), layers.shape, threads=1), layers.lora, threads=1, recompute=0)
    examples = random_examples(layers.shape.vocabulary, (20, 13))
    layers.gradients(pack(examples), np.zeros(layers.lora.size, np.float32), 1.0)
    assert evaluate(layers, examples, 64) == evaluate(plain, examples, 64)
    assert layers.arithmetic != plain.arithmetic == "float32"


def test_a_run_resumes_to_the_same_bits_after_the_files_were_dropped(deep_path, tmp_path):
    whole, part = make_trainer(deep_path, tmp_path / "a"), make_trainer(deep_path, tmp_path / "b", tmp_path / "kept")
    whole.run()
    steps = iter(range(99))
    part.run(should_stop=lambda: next(steps) >= 2)
    for path in (tmp_path / "b").iterdir():
        path.unlink()
    rest = make_trainer(deep_path, tmp_path / "b", tmp_path / "kept")
    assert rest.resume() and rest.run().finished
    assert rest.lora.flat.tobytes() == whole.lora.flat.tobytes()


def test_files_that_go_while_they_are_used_change_nothing(deep_path, tmp_path):
    whole, robbed = make_trainer(deep_path, tmp_path / "a"), make_trainer(deep_path, tmp_path / "b")
    whole.run()
    for path in (tmp_path / "b").iterdir():
        path.unlink()
    robbed.run()
    assert robbed.lora.flat.tobytes() == whole.lora.flat.tobytes()


def test_what_is_missing_or_damaged_is_made_anew_and_the_rest_stays(deep_path, tmp_path):
    files, _ = make_files(deep_path, tmp_path)
    units = files.missing()
    assert units == [f"layer-00{n}-{i}" for n in range(4) for i in (0, 1)] + ["output-000"]
    assert list(files.make_all(units[2:5])) == [1, 2, 3] and list(files.make_all(units[4:5])) == [1]
    assert files.missing() == units[:2] + units[5:]
    files.map()
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(tmp_path.iterdir())}
    assert [path.stem for path in kept if "backward" in path.stem] == [f"{unit}-backward" for unit in units[4:8]]
    assert len(kept) == len(units) + 4 and not files.missing()
    gone, _, damaged, *others = kept
    gone.unlink()
    damaged.write_bytes(kept[damaged][0][:-3])
    files.map()
    assert {path: path.read_bytes() for path in kept} == {path: data for path, (data, _) in kept.items()}
    assert all(path.stat().st_mtime_ns == kept[path][1] for path in others)


def test_size_is_told_before_and_files_are_removed(deep_path, tmp_path):
    folder = tmp_path / QUANTIZED
    for name in ("old", "new"):
        files, lora = make_files(deep_path, folder / name)
        files.map()
    size = stored_bytes(tmp_path) / 2
    assert size == pytest.approx(file_bytes(lora), rel=0.2)  # of a tiny model the scales are a large part
    remove_stored(tmp_path, but="new")
    assert [path.name for path in folder.iterdir()] == ["new"] and stored_bytes(tmp_path) == size
    remove_stored(tmp_path)
    assert stored_bytes(tmp_path) == 0
    remove_stored(tmp_path / "nowhere")


def test_short_memory_costs_time_and_no_bit(deep_path, tmp_path):
    plenty, short = make_trainer(deep_path, tmp_path), make_trainer(deep_path, tmp_path)
    plenty.run()
    short.run(memory_is_short=lambda: short.done >= 2)
    assert short.layers.recompute and not plenty.layers.recompute and short.done > 3
    assert short.lora.flat.tobytes() == plenty.lora.flat.tobytes()


KILLED = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from test_int8_files import make_trainer
trainer = make_trainer(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[2] + ".kept"))
trainer.resume()
print("made", flush=True)
trainer.run(checkpoint_seconds=0, progress=lambda done, _: (print(done, flush=True), sys.stdin.readline()))
"""


def test_kills_while_files_are_made_and_used_lose_nothing(deep_path, tmp_path):
    """Killed when files appear, and in training; the run ends at the same bits all the same.

    After each step the victim waits until it may go on, so that it is never through before the kill comes.
    """
    folder = tmp_path / "files"
    code = [sys.executable, "-c", KILLED, str(deep_path), str(folder), *sys.path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    for files in (1, 4, 9):
        process = subprocess.Popen(code, **pipes)
        while process.poll() is None and len(list(folder.glob(f"*{SUFFIX}"))) < files:
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    for steps in (1, 3):
        process = subprocess.Popen(code, **pipes)
        assert process.stdout.readline() == b"made\n"
        for _ in range(steps):
            assert process.stdout.readline()
            process.stdin.write(b"\n")
            process.stdin.flush()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    rest, whole = make_trainer(deep_path, folder, tmp_path / "files.kept"), make_trainer(deep_path)
    assert rest.resume() and rest.done >= 1
    rest.run(), whole.run()
    assert rest.lora.flat.tobytes() == whole.lora.flat.tobytes()


def test_only_the_last_and_the_next_are_advised(deep_path, tmp_path, monkeypatch):
    """Down the layers the backward sides are read ahead, up the forward sides; what was used is let go."""
    files, _ = make_files(deep_path, tmp_path)
    mapped, told = files.map(), []
    monkeypatch.setattr(ArrayFile, "release", lambda self: told.append(("release", self.path.stem)))
    monkeypatch.setattr(ArrayFile, "read_ahead", lambda self: told.append(("ahead", self.path.stem)))
    for place in ((2, 0), (2, 1), (3, 0), (3, 1)):
        mapped.sublayer(*place)
    told.clear()
    mapped.sublayer(3, 1)
    assert not told
    mapped.sublayer(3, 0)
    assert told == [
        ("release", "layer-003-1-forward"),
        ("release", "layer-003-1-backward"),
        ("ahead", "layer-002-1-backward"),
    ]
    told.clear()
    mapped.sublayer(3, 1)
    assert [name for what, name in told if what == "release"] == ["layer-003-0-forward", "layer-003-0-backward"]
    assert len(list(chain(mapped.output_chunks()))) == 1 and told[-1] == ("release", "output-000")
