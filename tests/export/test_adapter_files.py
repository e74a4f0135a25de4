"""Adapters travel between PEFT, llama.cpp and ONNX Runtime and come back the same."""

import json

import gguf
import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.model.gguf_file import GgufFile
from idletune.training.lora import read_adapter
from idletune.training.shape import ModelShape
from idletune_export.adapter_files import Adapter, convert_adapter, read_adapter_file, write_peft_folder
from idletune_export.base import Base
from safetensors.numpy import load_file, save_file


@pytest.fixture(scope="module")
def base(tiny_path):
    return Base(tiny_path)


@pytest.fixture
def peft_folder(base, tmp_path):
    rng = np.random.default_rng(0)
    modules = {
        name: (rng.standard_normal((4, columns)).astype(np.float32), rng.standard_normal((rows, 4)).astype(np.float32))
        for name, (rows, columns) in base.shapes().items() if name.endswith(("q_proj", "k_proj", "down_proj"))
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


@pytest.mark.parametrize("values, named", [
    ({"use_dora": True}, "DoRA"), ({"modules_to_save": ["lm_head"]}, "modules_to_save"), ({"bias": "all"}, "biases"),
    ({"peft_type": "LOHA"}, "LOHA"), ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
])
def test_what_cannot_travel_is_refused_by_name(peft_folder, tiny_path, tmp_path, values, named):
    change(peft_folder, **values)
    with pytest.raises(UsageError, match=named):
        convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["peft"]


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
    from idletune_export.hugging_face_folder import load, write_hugging_face_folder
    from peft import PeftModel

    convert_adapter(peft_folder, tmp_path / "a.gguf", tiny_path)
    convert_adapter(tmp_path / "a.gguf", tmp_path / "back", tiny_path)
    adapted = PeftModel.from_pretrained(load(write_hugging_face_folder(tiny_path, tmp_path / "hf")), tmp_path / "back")
    module = adapted.get_submodule("base_model.model.model.layers.1.mlp.down_proj")
    state = load_file(peft_folder / "adapter_model.safetensors")
    b = state["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"]
    assert (module.lora_B["default"].weight.detach().numpy() == b).all() and module.scaling["default"] == 3.0
