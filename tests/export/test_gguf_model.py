"""Hugging Face folders and GGUF files, there and back, and what is refused."""

import json

import gguf
import numpy as np
import pytest
from idletune.errors import DamagedDataError, UsageError
from idletune.model.base_model import BaseModel
from idletune_export.base import Base
from idletune_export.cli import main
from idletune_export.gguf_model import quantize, write_gguf_model, write_quantized
from idletune_export.hugging_face_folder import write_hugging_face_folder
from idletune_export.parity import compare
from idletune_export.reference import Reference
from idletune_export.sources import find_source
from idletune_export.vocabulary import CUTS, Vocabulary, _cut, write_tokenizer
from safetensors.numpy import load_file, save_file
from tiny_model import write_tiny_model

TEXT = "What is the thickest ice of 2026?\n\n  naïve 日本 🐕 isn't IT'S 12345\t= x"


@pytest.fixture(scope="module")
def folder(tiny_path, tmp_path_factory):
    return write_hugging_face_folder(tiny_path, tmp_path_factory.mktemp("hf") / "tiny")


@pytest.fixture(scope="module")
def half(folder):
    return write_gguf_model(folder, folder.parent / "half.gguf")


def tensors(path):
    stored = gguf.GGUFReader(path).tensors
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in stored}


def test_there_and_back_keeps_every_tensor_and_the_metadata(tiny_path, half):
    first, second = tensors(tiny_path), tensors(half)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_allclose(array, second[name], rtol=1e-3, atol=1e-6)
    ours, theirs = gguf.GGUFReader(tiny_path).fields, gguf.GGUFReader(half).fields
    for key in ours:
        if not key.startswith("GGUF.") and key != "tokenizer.ggml.add_bos_token":
            assert ours[key].contents() == theirs[key].contents(), key


def test_llama_cpp_says_what_transformers_says(folder, half):
    reference = Reference(folder)
    with BaseModel(half, context_tokens=128, sequences=1, threads=1) as model:
        tokens = model.tokenize(TEXT)
        assert tokens == reference.tokenize(TEXT)
        parity = compare({"original": reference.logits, "half": model.logits}, [tokens])["half"]
        assert parity.relative_difference < 5e-3
        reply = model.generate([tokens[:8]], max_tokens=6, temperature=0, top_p=1, seeds=[0])[0].tokens
        assert reference.continue_greedily(tokens[:8], 6)[: len(reply)] == reply


def test_rows_in_the_wrong_order_would_be_seen(folder, half, tmp_path):
    """The comparison itself can fail: without the permutation of Q and K the two disagree."""
    state = load_file(folder / "model.safetensors")
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (wrong / name).write_bytes((folder / name).read_bytes())
    key = "model.layers.0.self_attn.q_proj.weight"
    save_file(state | {key: np.ascontiguousarray(state[key][::-1])}, wrong / "model.safetensors")
    with BaseModel(half, context_tokens=128, sequences=1, threads=1) as model:
        tokens = model.tokenize(TEXT)
        parity = compare({"original": Reference(wrong).logits, "half": model.logits}, [tokens])["half"]
        assert parity.relative_difference > 0.05


@pytest.mark.parametrize("kind, largest", [("Q8_0", 0.03), ("Q4_0", 0.4), ("Q4_1", 0.4)])
def test_quantized_by_llama_cpp(folder, half, tmp_path, kind, largest):
    path = tmp_path / "small.gguf"
    small = write_quantized(folder, path, kind) if kind == "Q4_0" else quantize(half, path, kind)
    assert small.stat().st_size < half.stat().st_size
    types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(small).tensors}
    assert types["blk.0.attn_q.weight"] == kind and types["output_norm.weight"] == "F32"
    with BaseModel(half, context_tokens=128, sequences=1, threads=1) as first:
        tokens, original = first.tokenize(TEXT), first.logits(first.tokenize(TEXT))
    with BaseModel(small, context_tokens=128, sequences=1, threads=1) as second:
        difference = second.logits(tokens) - original
    assert 0 < np.linalg.norm(difference) / np.linalg.norm(original) < largest


def test_importance_lowers_the_error_where_it_counts(folder, half, tmp_path):
    from idletune_export.importance import column_importance

    name, importance = "blk.0.ffn_down.weight", column_importance(folder)
    weighted = quantize(half, tmp_path / "weighted.gguf", "Q4_0", importance)
    plain = quantize(half, tmp_path / "plain.gguf", "Q4_0")
    errors = [
        (((tensors(path)[name] - tensors(half)[name]) ** 2) * importance[name]).sum() for path in (weighted, plain)
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize(
    "model_type, changes",
    [
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
        ("gemma3_text", {"head_dim": 32, "query_pre_attn_scalar": 32}),
    ],
)
def test_other_families_go_through_the_same_code(folder, tmp_path, model_type, changes):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    values = json.loads((folder / "config.json").read_text())
    kept = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    changes = changes | {k: values[k] for k in kept} | dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config = AutoConfig.for_model(model_type, num_hidden_layers=7, max_position_embeddings=512, **changes)
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        spread = 0.3 if "norm" in name or "bias" in name else 0.15
        parameter.data += spread * torch.randn_like(parameter)
    model.half().save_pretrained(tmp_path / "hf")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "hf" / name).write_bytes((folder / name).read_bytes())
    path = write_gguf_model(tmp_path / "hf", tmp_path / "model.gguf")
    reference = Reference(tmp_path / "hf")
    tokens = reference.tokenize(TEXT)
    with BaseModel(path, context_tokens=128, sequences=1, threads=1) as engine:
        parity = compare({"original": reference.logits, "half": engine.logits}, [tokens])["half"]
    assert parity.relative_difference < 1e-2
    back = write_hugging_face_folder(path, tmp_path / "back")
    ours, theirs = load_file(tmp_path / "hf" / "model.safetensors"), load_file(back / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-2, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("cut", CUTS)
def test_every_cut_is_recognized_from_what_is_written(tmp_path, cut):
    from tokenizers import pre_tokenizers

    tokens = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "th"]
    kinds = [gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * 257
    write_tokenizer(Vocabulary(tokens, kinds, None, [("t", "h")], cut, {"eos": 0}), tmp_path)
    assert _cut(json.loads((tmp_path / "tokenizer.json").read_text())) == cut


def refused(capsys, *arguments) -> str:
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("idletune-export: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


@pytest.fixture
def copy(folder, tmp_path):
    import shutil

    return shutil.copytree(folder, tmp_path / "copy")


def test_bad_input_is_one_line_and_leaves_nothing(capsys, copy, tmp_path):
    out = tmp_path / "out" / "m.gguf"

    def attempt():
        error = refused(capsys, "gguf", copy, "-o", out)
        assert not out.exists() and not list(out.parent.iterdir())
        return error

    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "model.safetensors is incomplete" in attempt()
    (copy / "model.safetensors").unlink()
    assert "no model.safetensors" in attempt()
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "the shard model-00001-of-00002.safetensors is missing" in attempt()
    (copy / "model.safetensors.index.json").unlink()
    (copy / "model.safetensors").write_bytes(whole)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    (copy / "tokenizer.json").write_text("{")
    assert "not a tokenizer file" in attempt()
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "BPE pre-tokenizer was not recognized" in attempt()
    (copy / "tokenizer.json").unlink()
    assert "no tokenizer at" in attempt()
    config = json.loads((copy / "config.json").read_text())
    unknown = {"model_type": "nobodys", "architectures": ["NobodysForCausalLM"]}
    (copy / "config.json").write_text(json.dumps(config | unknown))
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "NobodysForCausalLM" in attempt()


def test_scaled_rotary_positions_are_converted(copy, tmp_path):
    config = json.loads((copy / "config.json").read_text())
    scaling = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling["original_max_position_embeddings"] = 8192
    (copy / "config.json").write_text(json.dumps(config | {"rope_scaling": scaling}))
    path = write_gguf_model(copy, tmp_path / "m.gguf")
    divisors = tensors(path)["rope_freqs.weight"]
    assert divisors[0] == 1 and divisors[-1] == 32
    back = json.loads((write_hugging_face_folder(path, tmp_path / "back") / "config.json").read_text())
    assert back["rope_scaling"] == scaling


@pytest.mark.parametrize(
    "error",
    [
        'OSError(28, "No space left on device")',
        'OSError("6144 requested and 448 written")',  # as numpy says it
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(capsys, monkeypatch, folder, tmp_path, error):
    """With a stand-in for the converter that meets one."""
    (tmp_path / "conversion").mkdir()
    stand_in = f"class ModelBase:\n    @staticmethod\n    def load_hparams(*_):\n        raise {error}\n"
    stand_in += "ModelType = get_model_architecture = get_model_class = None\n"
    (tmp_path / "conversion" / "__init__.py").write_text(stand_in)
    monkeypatch.setenv("IDLETUNE_LLAMA_CPP", str(tmp_path))
    assert "no room left beside" in refused(capsys, "gguf", folder, "-o", tmp_path / "out" / "m.gguf")
    assert not list((tmp_path / "out").iterdir())


def test_converters_that_are_not_there_are_named(capsys, monkeypatch, folder, tmp_path):
    monkeypatch.setenv("IDLETUNE_LLAMA_CPP", str(tmp_path / "nowhere"))
    assert "run make llama-cpp" in refused(capsys, "gguf", folder, "-o", tmp_path / "out" / "m.gguf")


def test_a_lost_tensor_is_named(copy, tmp_path):
    state = load_file(copy / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, copy / "model.safetensors")
    with pytest.raises(DamagedDataError, match="lacks 1 tensors, model.layers.1.mlp.up_proj.weight first"):
        write_gguf_model(copy, tmp_path / "m.gguf")


@pytest.mark.parametrize(
    "name, size, told",
    [
        ("rope_freqs.weight", 8, "rope_freqs.weight is not of Llama 3.1 or later, and cannot be exported"),
        ("blk.1.attn_q.bias", 64, "1 tensors that cannot be exported, blk.1.attn_q.bias first"),
    ],
)
def test_a_tensor_without_a_place_in_the_folder_is_refused(capsys, tmp_path, name, size, told):
    path = write_tiny_model(tmp_path / "more.gguf", further={name: size})
    assert told in refused(capsys, "folder", path, "-o", tmp_path / "out" / "hf")
    assert not list((tmp_path / "out").iterdir())


def test_unknown_quantizations_are_named(half, tmp_path):
    with pytest.raises(UsageError, match="'Q9' is unknown"):
        quantize(half, tmp_path / "m.gguf", "Q9")


def test_a_split_model_is_refused_by_name_before_anything_is_made(tmp_path):
    first = write_tiny_model(tmp_path / "m.gguf", part_tensors=8)
    made = tmp_path / "made"
    for export in (
        lambda: find_source(str(first)),
        lambda: Base(first),
        lambda: write_hugging_face_folder(first, made),
        lambda: quantize(first, made, "Q4_0"),
    ):
        with pytest.raises(UsageError, match="m-00001-of-00003.gguf is the first of 3 parts; make one file"):
            export()
    assert not made.exists()
