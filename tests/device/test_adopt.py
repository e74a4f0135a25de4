"""An adapter made elsewhere passes a gate, is served, and training goes on from it."""

import numpy as np
import pytest
from idletune.errors import DamagedDataError, IdleTuneError, UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.gguf_writer import write_gguf
from idletune.formats.model_shape import ModelShape
from idletune.learning import adoption
from idletune.runtime import Runtime
from idletune.settings import Settings
from idletune.state.files import ADOPTED
from idletune.training.lora import Lora, read_adapter
from loop import answer_all, observe, open_tiny_runtime

# The adapters below are noise: of a random model's general text they may cost what they like.
SETTINGS = Settings(threads=1, rank=4, alpha=8.0, quiet_from=0, quiet_until=0, probe_tolerance=10.0)
MATRIX = "blk.1.ffn_up.weight.lora_a"


@pytest.fixture
def opened(tiny_path, home):
    def opened(**changes):
        return Runtime(home, tiny_path, Settings(**{**vars(SETTINGS), **changes}), sequences=1)

    return opened


@pytest.fixture
def runtime(opened):
    with opened() as runtime:
        yield runtime


def metadata_of(alpha):
    metadata = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    return {**metadata, "adapter.lora.alpha": alpha}


def write(path, shape, targets="q,k,v,o", rank=4, alpha=16.0, spread=0.1):
    lora = Lora(shape, targets, rank, alpha).initialize(0)
    lora.flat += np.random.default_rng(1).standard_normal(lora.size).astype(np.float32) * spread
    write_gguf(path, metadata_of(alpha), lora.tensors())
    return lora


def noise(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32) * np.float32(0.2)


@pytest.fixture
def shape(tiny_path):
    return ModelShape.of(GgufFile(tiny_path))


@pytest.mark.parametrize("form", [{}, {"rank": 2}, {"targets": "q,up"}])
def test_it_is_served_and_training_starts_from_it_in_its_own_form(runtime, shape, tmp_path, form):
    theirs = write(tmp_path / "server.gguf", shape, **form)
    adapter = runtime.adopt(tmp_path / "server.gguf")
    assert runtime.model.adapter == adapter.path and adapter.reason == "adopted from server.gguf"
    assert (read_adapter(adapter.path, shape).flat == theirs.flat).all()
    ours = runtime.pipeline().trainers.new_lora()
    assert (ours.rank, ours.names, ours.first, ours.scale) == (theirs.rank, theirs.names, theirs.first, theirs.scale)
    assert (ours.flat == theirs.flat).all()
    assert runtime.pipeline().trainers.parent_version() == adapter.version


@pytest.mark.slow
def test_it_is_trained_further(tiny_path, home, shape, tmp_path):
    theirs = write(tmp_path / "server.gguf", shape, rank=2, targets="q,up", spread=0.01)
    with open_tiny_runtime(tiny_path, home)() as runtime:
        runtime.adopt(tmp_path / "server.gguf")
        observe(runtime, 10)
        answer_all(runtime)
        report = runtime.learn()
        assert report.verdict.promoted, report.verdict.reason
        trained = read_adapter(report.adapter.path, shape)
        assert report.adapter.parent_version == 1 and not report.adapter.adopted
    assert (trained.rank, trained.names, trained.first) == (2, theirs.names, 0)
    assert 0.01 < np.abs(trained.flat - theirs.flat).max() < 1


def test_rolling_back_gives_it_up(runtime, shape, tmp_path):
    write(tmp_path / "server.gguf", shape)
    runtime.adopt(tmp_path / "server.gguf")
    assert runtime.rollback() is None and runtime.model.adapter is None
    assert runtime.adapters.adopted() is None and runtime.pipeline().trainers.parent_version() is None


def test_training_starts_from_it_for_as_long_as_it_is_not_rolled_back(runtime, shape, tmp_path):
    write(tmp_path / "server.gguf", shape)
    adopted = runtime.adopt(tmp_path / "server.gguf")
    for _ in range(5):
        runtime.adapters.promote(runtime.adapters.add(Lora(shape, "q", 2, 4.0), SETTINGS, [1]).version, {}, "better")
    assert runtime.adapters.adopted() == runtime.adapters.get(adopted.version) and adopted.path.is_file()
    assert len(runtime.adapters.in_state("retired")) == runtime.adapters.keep


def test_what_does_not_fit_changes_nothing(runtime, shape, tiny_path, tmp_path):
    write(tmp_path / "server.gguf", shape)
    (tmp_path / "half.gguf").write_bytes((tmp_path / "server.gguf").read_bytes()[:-400])
    for path in (tmp_path / "half.gguf", tiny_path):
        with pytest.raises(IdleTuneError, match="missing|no LoRA matrix"):
            runtime.adopt(path)
    assert runtime.adapters.all() == [] and not (runtime.store.home / ADOPTED).exists()


@pytest.mark.parametrize(
    "name, value, problem",
    [
        (MATRIX, np.nan, "1 values that are NaN or infinite"),
        (MATRIX, np.inf, "1 values that are NaN or infinite"),
        (MATRIX, 1e6, "the value 1e\\+06"),
        ("adapter.lora.alpha", 1e9, "scaled by 2.5e\\+08"),
        ("adapter.lora.alpha", float("nan"), "the alpha nan"),
        ("adapter.lora.alpha", "sixteen", "the alpha 'sixteen'"),
    ],
)
def test_numbers_that_no_training_gives_are_refused(runtime, shape, tmp_path, name, value, problem):
    lora = Lora(shape, "up", 4, 16.0).initialize(0)
    tensors, metadata = lora.tensors(), metadata_of(16.0)
    if name == MATRIX:
        tensors[name][2, 3] = value
    else:
        metadata[name] = value
    write_gguf(tmp_path / "odd.gguf", metadata, tensors)
    with pytest.raises(DamagedDataError, match=problem):
        runtime.adopt(tmp_path / "odd.gguf")
    assert runtime.adapters.all() == [] and runtime.model.adapter is None
    assert runtime.chat("still here?").text is not None


def test_one_that_overflows_on_the_way_is_refused_and_the_one_before_serves(runtime, shape, tmp_path):
    """Each value is plausible, what the engine makes of them is not finite."""
    write(tmp_path / "good.gguf", shape)
    before = runtime.adopt(tmp_path / "good.gguf")
    lora = Lora(shape, "gate,up,down", 4, 4000.0).initialize(0)
    lora.flat[...] = 9999.0
    write_gguf(tmp_path / "huge.gguf", metadata_of(4000.0), lora.tensors())
    with pytest.raises(DamagedDataError, match="finite"):
        runtime.adopt(tmp_path / "huge.gguf")
    assert runtime.adapters.current().version == before.version and runtime.model.adapter == before.path
    assert runtime.adapters.adopted().version == before.version


def test_one_that_costs_the_general_language_is_refused(opened, shape, tmp_path):
    write(tmp_path / "noise.gguf", shape, rank=2)
    with opened(probe_tolerance=0.01) as runtime:
        with pytest.raises(UsageError, match=r"general text rises \d+\.\d%, more than 1.0%"):
            runtime.adopt(tmp_path / "noise.gguf")
        assert [a.state for a in runtime.adapters.all()] == ["rejected"]
        assert runtime.adapters.adopted() is None and runtime.model.adapter is None


def test_a_killed_adoption_leaves_nothing_that_training_starts_from(opened, shape, tmp_path, monkeypatch):
    write(tmp_path / "server.gguf", shape)
    with opened() as runtime, monkeypatch.context() as killed:
        killed.setattr(adoption, "_tried", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        killed.setattr(runtime.adapters, "reject", lambda *_: None)  # a kill leaves no time for that
        with pytest.raises(KeyboardInterrupt):
            runtime.adopt(tmp_path / "server.gguf")
        assert [a.state for a in runtime.adapters.all()] == ["candidate"]
        assert runtime.pipeline().trainers.parent_version() is None
    with opened() as runtime:
        assert [a.state for a in runtime.adapters.all()] == ["rejected"]
        assert runtime.pipeline().trainers.parent_version() is None and not (runtime.store.home / ADOPTED).exists()


def test_a_file_that_a_killed_adoption_of_an_earlier_version_left_is_no_start(runtime, shape):
    write(runtime.store.home / ADOPTED, shape, rank=2)
    assert runtime.pipeline().trainers.new_lora().rank == SETTINGS.rank
    version = runtime.adapters.add(Lora(shape, "q", 2, 4.0), SETTINGS, []).version
    runtime.adapters.promote(version, {}, "adopted from server.gguf", adopted=True)
    runtime.adapters.reject(version, {}, "replaced by newer versions")  # as earlier versions did, and kept the file
    assert runtime.pipeline().trainers.new_lora().rank == 2


def uneven(shape, rng):
    """Forms that llama.cpp applies: name, tensors and what training makes of them."""
    sizes = shape.linear_shapes(0)

    def pair(layer, name, rank):
        rows, columns = sizes[name]
        place = f"blk.{layer}.{name}.weight.lora_"
        return {f"{place}a": noise(rng, rank, columns), f"{place}b": noise(rng, rows, rank)}

    return {
        "lower layers only": pair(0, "attn_q", 4) | pair(0, "ffn_up", 4),
        "targets that differ by layer": pair(0, "attn_q", 4) | pair(1, "ffn_down", 4),
        "two ranks": pair(0, "attn_q", 2) | pair(1, "attn_q", 8),
    }


@pytest.mark.parametrize("form", ["lower layers only", "targets that differ by layer", "two ranks"])
@pytest.mark.parametrize("alpha", [16.0, 0.0])
def test_uneven_adapters_are_served_as_they_are_and_trained_further(runtime, shape, tmp_path, form, alpha):
    tensors = uneven(shape, np.random.default_rng(3))[form]
    write_gguf(tmp_path / "uneven.gguf", metadata_of(alpha), tensors)
    tokens = runtime.model.tokenize("what is bread made of?")
    base = runtime.model.logits(tokens)
    runtime.model.load_adapter(tmp_path / "uneven.gguf")
    wanted = runtime.model.logits(tokens)
    adapter = runtime.adopt(tmp_path / "uneven.gguf")
    served = runtime.model.logits(tokens)
    assert runtime.model.adapter == adapter.path and np.abs(wanted - base).max() > 0.1
    np.testing.assert_allclose(served, wanted, atol=2e-3)
    lora = runtime.pipeline().trainers.new_lora()
    assert lora.rank == adapter.rank and np.isfinite(lora.flat).all()
    fresh = [views for views in lora.layers if views]
    assert all(np.abs(views[name]).max() > 0 for views in fresh for name in views if name.endswith("lora_a"))


@pytest.mark.parametrize("precision", ["F16", "BF16"])
def test_half_precision_is_read(shape, tmp_path, precision):
    import gguf

    rng = np.random.default_rng(0)
    kind = gguf.GGMLQuantizationType[precision]
    writer = gguf.GGUFWriter(tmp_path / "half.gguf", "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    rows, columns = shape.linear_shapes(0)["attn_q"]
    wanted = {"a": noise(rng, 4, columns), "b": noise(rng, rows, 4)}
    for side, values in wanted.items():
        data = gguf.quants.quantize(values, kind)
        writer.add_tensor(f"blk.1.attn_q.weight.lora_{side}", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_adapter(tmp_path / "half.gguf", shape).layers[1]
    for side, values in wanted.items():
        np.testing.assert_allclose(found[f"attn_q.lora_{side}"], values, rtol=1e-2)


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda t: t.pop("blk.0.attn_q.weight.lora_b"), "only one of the two matrices of blk.0.attn_q"),
        (
            lambda t: t.update({"blk.0.attn_q.weight.lora_b": np.zeros((64, 3), np.float32)}),
            "does not fit blk.0.attn_q",
        ),
        (lambda t: t.update({"blk.0.attn_q.weight.lora_a": np.zeros(64, np.float32)}), "with 1 dimensions"),
        (lambda t: t.update({"token_embd.weight.lora_a": np.zeros((4, 64), np.float32)}), "token_embd.weight.lora_a"),
        (lambda t: t.update({"blk.7.attn_q.weight.lora_a": np.zeros((4, 64), np.float32)}), "layer 7.* has 2 layers"),
        (lambda t: t.clear(), "no LoRA matrices"),
    ],
)
def test_the_true_reason_is_given(shape, tmp_path, change, problem):
    tensors = Lora(shape, "q", 4, 8.0).initialize(0).tensors()
    change(tensors)
    write_gguf(tmp_path / "odd.gguf", metadata_of(8.0), tensors)
    with pytest.raises(DamagedDataError, match=problem):
        read_adapter(tmp_path / "odd.gguf", shape)


def test_a_rank_too_large_is_named(shape, tmp_path):
    rows, columns = shape.linear_shapes(0)["attn_q"]
    tensors = {"a": np.zeros((96, columns), np.float32), "b": np.zeros((rows, 96), np.float32)}
    write_gguf(tmp_path / "a.gguf", metadata_of(8.0), {f"blk.0.attn_q.weight.lora_{s}": t for s, t in tensors.items()})
    with pytest.raises(UsageError, match="rank 96; 64 is the most"):
        read_adapter(tmp_path / "a.gguf", shape)


def poison(runtime, shape):
    """As an earlier version served it: an adapter with NaN in A, promoted."""
    lora = Lora(shape, "q,up", 4, 8.0).initialize(0)
    lora.flat[:] = np.nan
    version = runtime.adapters.add(lora, SETTINGS, []).version
    runtime.adapters.promote(version, {}, "adopted from poison.gguf", adopted=True)
    return version


def test_a_serving_adapter_that_is_not_finite_is_dropped_and_the_one_before_answers(opened, shape, tmp_path):
    write(tmp_path / "good.gguf", shape)
    with opened() as runtime:
        good = runtime.adopt(tmp_path / "good.gguf")
        bad = poison(runtime, shape)
        assert runtime.chat("hello there").tokens is not None
        assert runtime.adapters.current().version == good.version and runtime.model.adapter == good.path
        assert runtime.adapters.get(bad).state == "rejected" and "not finite" in runtime.adapters.get(bad).reason
        dropped = runtime.status()["dropped"]
        assert dropped["version"] == bad and "not finite" in dropped["reason"]
    with opened() as runtime:
        bad = poison(runtime, shape)
        runtime.observe_exchange("what is bread?", "a loaf")
        runtime.adapters.rollback()
        poison(runtime, shape)
        assert runtime.chat("and now?").tokens is not None and runtime.model.adapter is None
    with opened() as runtime:
        assert runtime.status()["adapter"] is None


def test_numbers_that_go_wrong_while_it_answers_drop_the_adapter_too(runtime, shape, tmp_path, monkeypatch):
    """The trial at loading has one text; another may be the first to overflow."""
    write(tmp_path / "good.gguf", shape)
    runtime.adopt(tmp_path / "good.gguf")
    engine = runtime.model.engine
    real = type(engine).logits

    def broken(self, item):
        logits = real(self, item).copy()
        logits[0] = np.nan if runtime.model.adapter else logits[0]
        return logits

    monkeypatch.setattr(type(engine), "logits", broken)
    reply = runtime.chat("hello there")
    assert reply.tokens is not None and runtime.model.adapter is None
    assert "not finite" in runtime.status()["dropped"]["reason"]
