"""A model as a table of layers: what the registry makes of metadata and tensor names, and what it refuses."""

import math

import gguf
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.formats import families
from idletune.formats.families import FAMILIES, used_kinds
from idletune.formats.families.refused import REFUSED
from idletune.formats.gguf_file import GgufFile
from idletune.formats.loader_keys import guarded_keys
from idletune.formats.metadata import Metadata
from idletune.formats.model_shape import ModelShape
from idletune.formats.rope import Rope
from idletune.training.lora import Lora
from tiny_model import write_tiny_model

SIZES = {
    "block_count": 8,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "context_length": 1024,
}
REQUIRED = {
    "granite": {"logit_scale": 2.0},
    "lfm2": {"attention.head_count_kv": [0, 2] * 4, "shortconv.l_cache": 3},
    "qwen35": {
        "ssm.conv_kernel": 4,
        "ssm.group_count": 2,
        "ssm.inner_size": 64,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 4,
    },
    "gemma4": {
        "attention.key_length": 16,
        "attention.key_length_swa": 8,
        "attention.shared_kv_layers": 4,
        "attention.sliding_window": 5,
        "attention.sliding_window_pattern": [True, False] * 4,
        "embedding_length_per_layer_input": 8,
    },
}
QWEN2_BIASES = {f"blk.{layer}.attn_{name}.bias" for layer in range(SIZES["block_count"]) for name in "qkv"}


def metadata(architecture, *, tensors=frozenset(), context=0, **values):
    """`values` by their key, with __ for a dot."""
    values = SIZES | REQUIRED.get(architecture, {}) | {key.replace("__", "."): value for key, value in values.items()}
    named = {f"{architecture}.{key}": value for key, value in values.items()}
    return Metadata({"general.architecture": architecture, **named}, tensors, "the file", context)


def shape_of(architecture, **given):
    return ModelShape.from_metadata(metadata(architecture, **given), vocabulary=100)


def mixers(shape):
    return [layer.sublayers[0] for layer in shape.table]


@pytest.mark.parametrize("architecture", FAMILIES)
def test_layers_of_every_family_are_of_the_kinds_it_names(architecture):
    family, biases = FAMILIES[architecture], QWEN2_BIASES if architecture == "qwen2" else set()
    shape = shape_of(architecture, tensors=biases)
    for layer in shape.table:
        for sublayer in layer.sublayers:
            assert sublayer.kind in family.kinds
            assert sublayer.kind.linears == tuple(sublayer.linears)
            assert all(width > 0 for width in sublayer.saved_widths().values())
    assert family.models


def test_one_entry_is_all_that_a_family_is(tiny_path, monkeypatch):
    """Without it the model is refused, with it it opens: there is no other list of families."""
    entry = FAMILIES["llama"]
    monkeypatch.delitem(families.FAMILIES, "llama")
    with pytest.raises(UsageError, match="architecture 'llama' cannot be trained; known: qwen2, qwen3"):
        ModelShape.of(GgufFile(tiny_path))
    monkeypatch.setitem(families.FAMILIES, "llama", entry)
    assert ModelShape.of(GgufFile(tiny_path)).layers == 2


def test_what_cannot_be_trained_is_refused_with_an_alternative():
    assert not REFUSED.keys() & FAMILIES.keys() and REFUSED.keys() <= set(gguf.MODEL_ARCH_NAMES.values())
    with pytest.raises(UsageError, match=r"'gemma3n' cannot be trained \(.*use Gemma 3 or Gemma 4\); known: "):
        shape_of("gemma3n")


def test_kinds_have_names_of_their_own():
    names = [kind.name for kind in used_kinds()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("architecture", ["qwen2", "granite"])  # with few and with many keys of their own
def test_a_key_that_changes_what_is_computed_is_read_or_refused(architecture):
    for key in guarded_keys(architecture).keys() - SIZES.keys():
        given = metadata(architecture, **{key.replace(".", "__"): 3})
        ModelShape.from_metadata(given, vocabulary=100)
        if key in given.read_keys:
            given.refuse_unread()
        else:
            with pytest.raises(
                UsageError, match=f"the file has {architecture}.{key} = 3, which training does not know"
            ):
                given.refuse_unread()


def test_sizes_that_cannot_be_are_refused():
    for value in (0, -4, 2.5, True, "4", None):
        with pytest.raises(DamagedDataError, match="the size .* as llama.embedding_length; convert"):
            shape_of("llama", embedding_length=value)
    with pytest.raises(DamagedDataError, match=r"the sizes \[4\] as llama.attention.head_count; convert"):
        shape_of("llama", attention__head_count=[4])
    with pytest.raises(DamagedDataError, match="lacks the metadata 'granite.logit_scale'"):
        values = {f"granite.{key}": value for key, value in SIZES.items()}
        ModelShape.from_metadata(Metadata(values | {"general.architecture": "granite"}), 100)


def test_llama_3_divides_its_frequencies():
    assert mixers(shape_of("llama", tensors={"rope_freqs.weight"}))[3].rope.divisors == "rope_freqs.weight"
    assert not mixers(shape_of("llama"))[3].rope.divisors


def test_scaling_without_a_type_is_linear_as_in_llama_cpp():
    for given in ({"rope__scaling__factor": 8.0}, {"rope__scale_linear": 8.0}):
        assert mixers(shape_of("qwen3", **given))[0].rope.scale == 1 / 8
    assert mixers(shape_of("qwen3", rope__scaling__factor=8.0, rope__scaling__type="none"))[0].rope.scale == 1


def test_gemma_3_scales_global_layers_and_takes_its_pattern_from_the_file():
    given = dict(attention__sliding_window=9, rope__scaling__factor=8.0, rope__freq_base=1e6)
    found = [(m.window, m.rope.base, m.rope.scale) for m in mixers(shape_of("gemma3", **given))]
    assert found[:7] == [(9, 1e4, 1.0)] * 5 + [(0, 1e6, 1 / 8), (9, 1e4, 1.0)]
    found = mixers(shape_of("gemma3", attention__sliding_window_pattern=[1, 0] * 4, **given))
    assert [mixer.window for mixer in found] == [9, 0] * 4
    assert not any(mixer.window for mixer in mixers(shape_of("gemma3")))
    assert shape_of("gemma3", final_logit_softcapping=30.0).logit_soft_cap == 30.0


def test_every_fourth_layer_of_smollm3_knows_no_positions():
    assert [m.rope.dimensions for m in mixers(shape_of("smollm3"))] == [16, 16, 16, 0] * 2


def test_ministral_grows_its_scores_and_has_a_net_magnitude_of_1():
    given = dict(
        rope__scaling__type="yarn",
        rope__scaling__factor=16.0,
        rope__scaling__original_context_length=64,
        rope__scaling__yarn_log_multiplier=1.0,
        rope__scaling__yarn_beta_fast=16.0,
        attention__temperature_scale=0.1,
    )
    mixer = mixers(shape_of("mistral3", **given))[0]
    assert mixer.rope.magnitude == 1 and mixer.rope.yarn.beta_fast == 16 and mixer.rope.yarn.original_context == 64
    assert (mixer.temperature, mixer.temperature_length) == (0.1, 64)
    plain = mixers(shape_of("llama", **given))[0]  # llama.cpp reads those keys for mistral3 alone
    assert plain.rope.magnitude == pytest.approx(1 + 0.1 * math.log(16)) and plain.rope.yarn.beta_fast == 32


def test_phi_takes_its_factors_by_the_context_that_is_served():
    tensors = {"rope_factors_short.weight", "rope_factors_long.weight", "blk.0.attn_qkv.weight", "blk.0.ffn_up.weight"}
    given = dict(tensors=tensors, rope__scaling__original_context_length=4096, rope__dimension_count=12)
    for context, expected in ((0, "short"), (4096, "short"), (4097, "long")):
        rope = mixers(shape_of("phi3", context=context, **given))[0].rope
        assert rope == Rope("halves", 12, divisors=f"rope_factors_{expected}.weight")
    linears = shape_of("phi3", **given).table[0].linears
    assert [(linears[name].tensor, linears[name].first_row) for name in linears] == [
        ("attn_qkv.weight", 0),
        ("attn_qkv.weight", 64),
        ("attn_qkv.weight", 96),
        ("attn_output.weight", 0),
        ("ffn_up.weight", 0),
        ("ffn_up.weight", 96),
        ("ffn_down.weight", 0),
    ]


def test_scales_of_granite_and_minicpm():
    given = dict(embedding_scale=3.0, residual_scale=0.4, attention__scale=0.2, logit_scale=2.5)
    for architecture, of_scores in (("granite", 0.2), ("minicpm", 0.25)):  # llama.cpp reads the key for granite alone
        shape = shape_of(architecture, **given)
        assert (shape.embedding_scale, shape.logit_scale, mixers(shape)[0].scale) == (3.0, 1 / 2.5, of_scores)
        assert {one.residual_scale for layer in shape.table for one in layer.sublayers} == {0.4}
    default = shape_of("minicpm")
    assert (default.embedding_scale, default.logit_scale) == (12.0, 64 / 256)
    assert mixers(default)[0].residual_scale == pytest.approx(1.4 / math.sqrt(8))
    assert mixers(shape_of("granite", rope__scaling__finetuned=False))[0].rope.dimensions == 0


def test_gemma_2_soft_caps_and_has_a_window_on_every_second_layer():
    shape = shape_of("gemma2", attn_logit_softcapping=5.0)
    assert [(m.window, m.soft_cap) for m in mixers(shape)[:2]] == [(4096, 5.0), (0, 5.0)]
    assert shape.logit_soft_cap == 30.0 and shape.embedding_scale == 8.0


def test_olmo_3_scales_global_layers_alone():
    given = dict(attention__sliding_window=9, rope__scaling__factor=4.0)
    assert [(m.window, m.rope.scale) for m in mixers(shape_of("olmo2", **given))[2:4]] == [(9, 1.0), (0, 1 / 4)]


def test_hunyuan_widens_its_base():
    assert mixers(shape_of("hunyuan-dense", rope__scaling__alpha=10.0))[0].rope.base == 10000.0 * 10 ** (16 / 14)


def test_a_layer_with_a_tensor_of_another_family_is_refused(tmp_path):
    path = write_tiny_model(tmp_path / "more.gguf", further={"blk.5.attn_norm.weight": 64})
    with pytest.raises(UsageError, match="more.gguf has 1 tensors that training does not know, blk.5.attn_norm.weight"):
        ModelShape.of(GgufFile(path))


def test_layers_of_gemma4_borrow_from_the_last_of_their_kind_below():
    shape = ModelShape.from_metadata(metadata("gemma4"), 100)
    borrowed = [layer.sublayers[0].kv_layer for layer in shape.table]
    assert borrowed == [-1, -1, -1, -1, 2, 3, 2, 3]
    assert shape.first_trainable == 4 and Lora(shape, "down", 4, 8).first == 4
    assert shape.state_width == shape.hidden + 2 * sum(shape.kv_widths.values()) > shape.hidden
    with pytest.raises(DamagedDataError, match="5 layers with K and V, the last two of which are not"):
        ModelShape.from_metadata(metadata("gemma4", attention__shared_kv_layers=3), 100)
