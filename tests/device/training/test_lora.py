import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.gguf_writer import write_gguf
from idletune.formats.model_shape import ModelShape
from idletune.settings import Settings
from idletune.training.lora import Lora, read_adapter, widened
from tiny_model import write_tiny_model


@pytest.fixture
def shape(tiny_path):
    return ModelShape.of(GgufFile(tiny_path))


@pytest.mark.parametrize("targets, rank", [("q,k,v,o", 8), ("v", 1), ("q,k,v,o,gate,up,down", 64)])
def test_size_is_rank_times_rows_and_columns(shape, targets, rank):
    lora = Lora(shape, targets, rank, 16)
    shapes = shape.linear_shapes(0)
    assert lora.size == shape.layers * rank * sum(sum(shapes[name]) for name in lora.names)
    assert sum(view.size for views in lora.layers for view in views.values()) == lora.size


def test_a_new_adapter_changes_nothing_and_is_seeded(shape):
    lora = Lora(shape, "q,v", 4, 8).initialize(3)
    assert not any(view.any() for views in lora.layers for name, view in views.items() if name.endswith("_b"))
    again, other = Lora(shape, "q,v", 4, 8).initialize(3), Lora(shape, "q,v", 4, 8).initialize(4)
    assert lora.flat.tobytes() == again.flat.tobytes() != other.flat.tobytes()


@pytest.mark.parametrize("share, first", [(1.0, 0), (0.5, 1), (0.0, 1)])
def test_the_settings_say_how_many_layers_get_an_adapter(shape, share, first):
    lora = Lora.from_settings(shape, Settings(top_share=share, rank=4, alpha=8.0, targets="q,v", seed=3))
    assert (lora.first, lora.rank, lora.scale, shape.layers) == (first, 4, 2.0, 2)
    expected = Lora(shape, "q,v", 4, 8, shape.layers - first).initialize(3)
    assert lora.flat.tobytes() == expected.flat.tobytes()


def test_an_adapter_file_reads_back(shape, tmp_path):
    lora = Lora(shape, "q,k,down", 4, 12).initialize(0)
    write_gguf(tmp_path / "a.gguf", {"adapter.lora.alpha": 12.0}, lora.tensors())
    back = read_adapter(tmp_path / "a.gguf", shape)
    assert (back.targets, back.rank, back.alpha) == ("q,k,down", 4, 12.0)
    assert back.flat.tobytes() == lora.flat.tobytes()


def updates(lora):
    """The update of each module that has one, by layer and name."""
    found = {}
    for number, views in enumerate(lora.layers):
        for name in {name.rpartition(".")[0] for name in views}:
            update = lora.scale * views[f"{name}.lora_b"] @ views[f"{name}.lora_a"]
            if update.any():
                found[number, name] = update
    return found


def test_a_small_adapter_is_the_same_update_in_a_wider_form(shape):
    settings = Settings(rank=4, alpha=32.0, targets="gate,down", top_share=1.0)
    small = Lora(shape, "down", 1, 2.0, top_layers=1).initialize(5)
    small.flat[...] = np.random.default_rng(0).standard_normal(small.size)
    wide = widened(small, settings)
    assert (wide.rank, wide.targets, wide.first) == (4, "gate,down", 0)
    assert updates(wide).keys() == updates(small).keys() == {(1, "ffn_down")}
    assert updates(wide)[1, "ffn_down"] == pytest.approx(updates(small)[1, "ffn_down"], rel=1e-5)
    fresh = Lora.from_settings(shape, settings)
    assert (
        wide.layers[0]["ffn_down.lora_a"] == fresh.layers[0]["ffn_down.lora_a"]
    ).all()  # there is something to train


@pytest.mark.parametrize("changed", [{"rank": 2}, {"targets": "gate"}, {"top_share": 0.5}, {}])
def test_an_adapter_that_a_form_does_not_hold_or_that_has_it_stays_as_it_is(shape, changed):
    lora = Lora(shape, "down", 4, 8.0).initialize(1)
    form = {"rank": 4, "alpha": 16.0, "targets": "down", "top_share": 1.0}
    assert widened(lora, Settings(**{**form, **changed})) is lora


def test_an_adapter_of_another_base_is_refused(shape, tmp_path):
    other = Lora(ModelShape.of(GgufFile(write_tiny_model(tmp_path / "other.gguf", hidden=128))), "q,k,v,o", 4, 12)
    write_gguf(tmp_path / "a.gguf", {"adapter.lora.alpha": 12.0}, other.tensors())
    with pytest.raises(DamagedDataError, match="made for another"):
        read_adapter(tmp_path / "a.gguf", shape)


def test_an_adapter_that_fits_in_part_is_refused(shape, tmp_path):
    tensors = Lora(shape, "q", 4, 12).tensors()
    beyond = {name.replace("blk.1", "blk.7"): values for name, values in tensors.items() if "blk.1" in name}
    halves = {name: values for name, values in tensors.items() if name.endswith("lora_b")}
    for kept, said in ((tensors | beyond, "layer 7, the base model has 2"), (beyond, "layer 7"), (halves, "only one")):
        write_gguf(tmp_path / "a.gguf", {"adapter.lora.alpha": 12.0}, kept)
        with pytest.raises(DamagedDataError, match=said):
            read_adapter(tmp_path / "a.gguf", shape)


@pytest.mark.parametrize("metadata", [{}, {"adapter.lora.alpha": 0.0}])
def test_without_alpha_the_scale_is_1_as_in_llama_cpp(shape, tmp_path, metadata):
    write_gguf(tmp_path / "a.gguf", metadata, Lora(shape, "q", 4, 12).tensors())
    assert read_adapter(tmp_path / "a.gguf", shape).scale == 1.0


@pytest.mark.parametrize("targets, rank", [("q,x", 8), ("", 8), ("q", 0), ("q", 65)])
def test_unknown_targets_and_ranks_are_refused(shape, targets, rank):
    with pytest.raises(UsageError):
        Lora(shape, targets, rank, 16)
