"""Adapters travel between PEFT, llama.cpp and ONNX Runtime and come back the same."""

import json
import re

import gguf
import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.training.lora import read_adapter
from idletune_export.adapter_files import (
    Adapter,
    convert_adapter,
    read_adapter_file,
    write_gguf_adapter,
    write_peft_folder,
)
from idletune_export.base import Base
from idletune_export.hugging_face_folder import read_json, write_hugging_face_folder
from safetensors.numpy import load_file, save_file


@pytest.fixture(scope="module")
def base(tiny_path):
    return Base(tiny_path)


@pytest.fixture
def peft_folder(base, tmp_path):
    rng = np.random.default_rng(0)
    modules = {
        name: (rng.standard_normal((4, columns)).astype(np.float32), rng.standard_normal((rows, 4)).astype(np.float32))
        for name, (rows, columns) in base.shapes().items()
        if name.endswith(("q_proj", "k_proj", "down_proj"))
    }
    write_peft_folder(Adapter(12.0, modules), tmp_path / "peft", "base")
    return tmp_path / "peft"


def change(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def assert_same(first: Adapter, second: Adapter):
    assert (first.rank, first.alpha, list(first.modules)) == (second.rank, second.alpha, list(second.modules))
    for name, pair in first.modules.items():
        for ours, theirs in zip(pair, second.modules[name]):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["through.gguf", "through.onnx_adapter"])
def test_there_and_back_gives_identical_arrays(peft_folder, base, tiny_path, tmp_path, name):
    convert_adapter(peft_folder, tmp_path / name, tiny_path)
    convert_adapter(tmp_path / name, tmp_path / "back", tiny_path)
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (peft_folder, tmp_path / "back"))
    assert ours.keys() == theirs.keys() and all((ours[key] == theirs[key]).all() for key in ours)
    assert_same(read_adapter_file(peft_folder, base), read_adapter_file(tmp_path / "back", base))


def test_gguf_to_onnx_and_back(peft_folder, base, tiny_path, tmp_path):
    convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    convert_adapter(tmp_path / "a.gguf", tmp_path / "a.onnx_adapter", tiny_path)
    convert_adapter(tmp_path / "a.onnx_adapter", tmp_path / "b.gguf", tiny_path)
    assert_same(read_adapter_file(tmp_path / "a.gguf", base), read_adapter_file(tmp_path / "b.gguf", base))
    first, second = (gguf.GGUFReader(tmp_path / name).tensors for name in ("a.gguf", "b.gguf"))
    assert all((a.data == b.data).all() and a.name == b.name for a, b in zip(first, second, strict=True))


def test_the_device_reads_it_with_permuted_rows(peft_folder, base, tiny_path, tmp_path):
    convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    lora = read_adapter(tmp_path / "a.gguf", ModelShape.of(GgufFile(tiny_path)))
    assert (lora.rank, lora.alpha, lora.targets) == (4, 12.0, "q,k,down")
    b = read_adapter_file(peft_folder, base).modules["model.layers.1.self_attn.k_proj"][1]
    ours = lora.layers[1]["attn_k.lora_b"]
    assert not (ours == b).all()
    # Two heads of 16: value i of a half becomes value 2 i of its head.
    np.testing.assert_array_equal(ours[[0, 2, 4]], b[[0, 1, 2]])
    np.testing.assert_array_equal(ours[[1, 17]], b[[8, 24]])


@pytest.mark.parametrize("precision, size", [("F16", 0.6), ("Q8_0", 0.5)])
def test_quantized_matrices_are_smaller_and_close(peft_folder, base, tiny_path, tmp_path, precision, size):
    convert_adapter(peft_folder, tmp_path / "full.gguf", tiny_path)
    convert_adapter(peft_folder, tmp_path / "small.gguf", tiny_path, precision)
    assert (tmp_path / "small.gguf").stat().st_size < size * (tmp_path / "full.gguf").stat().st_size + 2000
    full, small = (read_adapter_file(tmp_path / name, base) for name in ("full.gguf", "small.gguf"))
    for name, pair in full.modules.items():
        for ours, theirs in zip(pair, small.modules[name]):
            assert 0 < np.abs(ours - theirs).max() < 0.02 * np.abs(ours).max()


def test_rslora_keeps_its_strength(peft_folder, base):
    change(peft_folder, use_rslora=True)
    adapter = read_adapter_file(peft_folder, base)
    assert adapter.alpha / adapter.rank == pytest.approx(12 / 4**0.5)


@pytest.fixture
def two_ranks(base, tmp_path):
    """A folder whose Q has rank 6 and whose down_proj has rank 2."""
    rng = np.random.default_rng(0)
    modules = {
        name: tuple(rng.standard_normal(size).astype(np.float32) for size in ((rank, columns), (rows, rank)))
        for name, (rows, columns) in base.shapes().items()
        for end, rank in (("q_proj", 6), ("down_proj", 2))
        if name.endswith(end)
    }
    write_peft_folder(Adapter(12.0, modules), tmp_path / "ranks", "base")
    return tmp_path / "ranks"


def test_ranks_that_differ_travel(two_ranks, base, tiny_path, tmp_path):
    config = read_json(two_ranks / "adapter_config.json")
    assert config["r"] == 2 and config["rank_pattern"] == {f"layers.{n}.self_attn.q_proj": 6 for n in range(2)}
    convert_adapter(two_ranks, tmp_path / "a.gguf", tiny_path)
    assert_same(read_adapter_file(two_ranks, base), read_adapter_file(tmp_path / "a.gguf", base))
    change(two_ranks, rank_pattern={"q_proj": 6})  # as a person would write it
    assert_same(read_adapter_file(two_ranks, base), read_adapter_file(tmp_path / "a.gguf", base))


def test_ranks_that_differ_are_refused_where_one_scale_cannot_hold_them(two_ranks, base, tiny_path, tmp_path):
    with pytest.raises(UsageError, match=r"ranks \[2, 6\]; an .onnx_adapter holds one"):
        convert_adapter(two_ranks, tmp_path / "a.onnx_adapter", tiny_path)
    change(two_ranks, use_rslora=True)
    with pytest.raises(UsageError, match=r"use_rslora with the ranks \[2, 6\]"):
        read_adapter_file(two_ranks, base)


def test_a_file_without_alpha_scales_by_one_whatever_the_rank(two_ranks, base, tiny_path, tmp_path):
    adapter = read_adapter_file(two_ranks, base)
    adapter.alpha = 0.0
    write_gguf_adapter(adapter, tmp_path / "a.gguf", base)
    for name, (_, b) in read_adapter_file(tmp_path / "a.gguf", base).modules.items():
        np.testing.assert_allclose(2.0 / b.shape[1] * b, adapter.modules[name][1], rtol=1e-6)


@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model."])
def test_the_text_model_of_one_that_sees_too(peft_folder, base, prefix):
    weights, plain = peft_folder / "adapter_model.safetensors", read_adapter_file(peft_folder, base)
    state = load_file(weights)
    save_file({key.replace(".model.layers", f".{prefix}layers"): array for key, array in state.items()}, weights)
    assert_same(plain, read_adapter_file(peft_folder, base))


def test_a_folder_is_the_same_base_as_its_file(base, tiny_path, tmp_path):
    folder = write_hugging_face_folder(tiny_path, tmp_path / "hf")
    assert (Base(folder).architecture, Base(folder).modules) == (base.architecture, base.modules)
    config = folder / "config.json"
    config.write_text(json.dumps({"model_type": "sees_too", "text_config": read_json(config)}))
    state = load_file(folder / "model.safetensors")
    moved = {name.replace("model.", "model.language_model.", 1): array for name, array in state.items()}
    save_file(
        moved | {"model.vision_tower.layers.0.self_attn.q_proj.weight": state["model.norm.weight"]},
        folder / "model.safetensors",
    )
    assert Base(folder).modules == base.modules


@pytest.mark.parametrize(
    "change, said",
    [
        ({"model_type": "mamba", "text_config": "none"}, "'mamba' is unknown"),
        ({"num_attention_heads": "4"}, "'4' and 2"),
    ],
)
def test_a_folder_that_is_no_known_base_is_refused_by_name(tiny_path, tmp_path, change, said):
    folder = write_hugging_face_folder(tiny_path, tmp_path / "hf")
    config = folder / "config.json"
    config.write_text(json.dumps(read_json(config) | change))
    with pytest.raises((UsageError, DamagedDataError), match=said):
        Base(folder)


@pytest.mark.parametrize("module", ["model.vision_tower.encoder.layers.0.self_attn.q_proj", "lm_head"])
def test_an_adapter_beside_the_layers_is_refused_by_name(peft_folder, tiny_path, tmp_path, module):
    weights = peft_folder / "adapter_model.safetensors"
    a, b = np.zeros((4, 64), np.float32), np.zeros((64, 4), np.float32)
    more = {f"base_model.model.{module}.lora_{side}.weight": array for side, array in (("A", a), ("B", b))}
    save_file(load_file(weights) | more, weights)
    with pytest.raises(UsageError, match=f"the adapter has {module}, no linear layer of this base model"):
        convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)


@pytest.mark.parametrize(
    "values",
    [
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"lora_bias": True},
        {"fan_in_fan_out": True},
        {"alpha_pattern": {"q_proj": 2}},
        {"layer_replication": [[0, 2], [1, 2]]},
        {"trainable_token_indices": [1, 2]},
        {"use_qalora": True},
        {"ensure_weight_tying": True},
        {"loftq_config": {"loftq_bits": 4}},
        *({"init_lora_weights": name} for name in ("pissa", "pissa_niter_16", "olora", "loftq", "eva", "corda", "new")),
        {"megatron_config": {"a": 1}},
        {"made_up_tomorrow": False},
        {"use_dora": 0},  # of another type than PEFT writes
    ],
)
def test_what_cannot_travel_is_refused_by_name(peft_folder, tiny_path, tmp_path, values):
    change(peft_folder, **values)
    (name, value), *_ = values.items()
    with pytest.raises(UsageError, match=re.escape(f"{name}: {value!r}")):
        convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["peft"]


@pytest.mark.parametrize(
    "values, named",
    [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"peft_type": None}, "None"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'"),
        ({"lora_alpha": 0}, "lora_alpha is 0"),
        ({"lora_alpha": True}, "lora_alpha is True"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'"),
        ({"r": None}, "rank r is None"),
        ({"r": 2**70}, "rank r is"),
        ({"r": 5}, "down_proj have rank 4, r is 5"),
        ({"rank_pattern": {"q_proj": 2}}, "q_proj have rank 4, r is 2"),
        ({"rank_pattern": {"q_proj": True}}, "rank q_proj is True"),
        ({"rank_pattern": [2]}, r"rank_pattern is \[2\]"),
    ],
)
def test_odd_values_are_named(peft_folder, base, values, named):
    change(peft_folder, **values)
    with pytest.raises((UsageError, DamagedDataError), match=named):
        read_adapter_file(peft_folder, base)


def test_a_missing_alpha_is_named(peft_folder, base):
    path = peft_folder / "adapter_config.json"
    config = json.loads(path.read_text())
    del config["lora_alpha"]
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match="lora_alpha is None"):
        read_adapter_file(peft_folder, base)


def test_what_peft_writes_by_default_is_read_with_a_byte_order_mark_too(peft_folder, base):
    from peft import LoraConfig

    before = read_adapter_file(peft_folder, base)
    written = {k: str(v.value) if k == "peft_type" else v for k, v in LoraConfig(r=4, lora_alpha=12).to_dict().items()}
    path = peft_folder / "adapter_config.json"
    path.write_text("\ufeff" + json.dumps(written), encoding="utf-8")
    assert_same(before, read_adapter_file(peft_folder, base))


def test_matrices_that_are_no_numbers_are_refused(peft_folder, base):
    weights = peft_folder / "adapter_model.safetensors"
    state = load_file(weights)
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    for odd, said in (
        (np.full_like(state[key], np.nan), "holds NaN or infinity"),
        (state[key].astype(np.int32), "not a matrix of real numbers"),
        (state[key][0].copy(), "of 1 dimensions"),
    ):
        save_file(state | {key: odd}, weights)
        with pytest.raises(DamagedDataError, match=said):
            read_adapter_file(peft_folder, base)


def test_wrong_shapes_and_broken_files_are_refused(peft_folder, tiny_path, tmp_path):
    weights = peft_folder / "adapter_model.safetensors"
    whole, state = weights.read_bytes(), load_file(weights)
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    save_file(state | {key: state[key][:, :3].copy()}, weights)
    with pytest.raises(UsageError, match=r"B \(64, 4\).*\(64, 3\)"):
        convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    save_file({k: v for k, v in state.items() if k != key}, weights)
    with pytest.raises(DamagedDataError, match="only one of its two"):
        convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    weights.write_bytes(whole[:-100])
    with pytest.raises(DamagedDataError, match="incomplete"):
        convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    (tmp_path / "x.onnx_adapter").write_bytes(b"nothing of the kind")
    with pytest.raises(DamagedDataError, match="not an ONNX Runtime adapter"):
        convert_adapter(tmp_path / "x.onnx_adapter", tmp_path / "a.gguf", tiny_path)
    with pytest.raises(UsageError, match="no adapter at"):
        convert_adapter(tmp_path / "none.gguf", tmp_path / "a.gguf", tiny_path)
    assert not (tmp_path / "a.gguf").exists()


def test_peft_itself_loads_what_came_from_a_gguf(peft_folder, tiny_path, tmp_path):
    from idletune_export.hugging_face_folder import load
    from peft import PeftModel

    convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    convert_adapter(tmp_path / "a.gguf", tmp_path / "back", tiny_path)
    adapted = PeftModel.from_pretrained(load(write_hugging_face_folder(tiny_path, tmp_path / "hf")), tmp_path / "back")
    module = adapted.get_submodule("base_model.model.model.layers.1.mlp.down_proj")
    state = load_file(peft_folder / "adapter_model.safetensors")
    b = state["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"]
    assert (module.lora_B["default"].weight.detach().numpy() == b).all() and module.scaling["default"] == 3.0


def test_a_configuration_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}', "utf-8-sig")
    assert read_json(tmp_path / "adapter_config.json") == {"peft_type": "LORA"}
