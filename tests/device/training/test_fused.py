"""Adapters on parts of a fused matrix: one for llama.cpp, and read back as they were."""

import numpy as np
import pytest
from idletune.formats.gguf_writer import write_gguf
from idletune.formats.metadata import Metadata
from idletune.formats.model_shape import ModelShape
from idletune.training.fused import joined
from idletune.training.lora import Lora, read_adapter

FUSED = {f"blk.{layer}.{name}.weight" for layer in range(2) for name in ("attn_qkv", "ffn_up")}


@pytest.fixture
def shape():
    """A Phi of two layers."""
    values = {
        "block_count": 2,
        "embedding_length": 24,
        "feed_forward_length": 40,
        "context_length": 64,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5,
    }
    named = {f"phi3.{key}": value for key, value in values.items()} | {"general.architecture": "phi3"}
    return ModelShape.from_metadata(Metadata(named, FUSED), vocabulary=50)


def trained(shape, targets):
    lora = Lora(shape, targets, 3, 6, top_layers=1).initialize(0)
    lora.flat[...] = np.random.default_rng(1).standard_normal(lora.size)
    return lora


@pytest.mark.parametrize("targets", ["q,k,v,o,gate,up,down", "q,v", "up", "gate,down"])
def test_llama_cpp_gets_one_adapter_and_it_reads_back(shape, tmp_path, targets):
    lora = trained(shape, targets)
    tensors = lora.tensors()
    assert not {"blk.1.attn_q.weight.lora_a", "blk.1.ffn_gate.weight.lora_a"} & tensors.keys()
    write_gguf(tmp_path / "a.gguf", {"adapter.lora.alpha": 6.0}, tensors)
    back = read_adapter(tmp_path / "a.gguf", shape)
    assert (back.targets, back.rank, back.first) == (targets, 3, 1)
    np.testing.assert_allclose(back.flat, lora.flat, rtol=1e-6)


def test_the_whole_has_the_update_of_its_parts(shape):
    lora = trained(shape, "q,v")
    a, b = (lora.tensors()[f"blk.1.attn_qkv.weight.lora_{side}"] for side in "ab")
    assert a.shape == (6, 24) and b.shape == (48, 6)
    update, views = 6 / len(a) * b @ a, lora.layers[1]
    for name, rows in (("attn_q", slice(0, 24)), ("attn_v", slice(36, 48))):
        expected = lora.scale * views[f"{name}.lora_b"] @ views[f"{name}.lora_a"]
        np.testing.assert_allclose(update[rows], expected, rtol=1e-4)
    assert not update[24:36].any()


@pytest.mark.parametrize("alpha", [6.0, 0.0])
def test_an_adapter_that_was_trained_on_the_whole_is_one_on_each_part(shape, tmp_path, alpha):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(size).astype(np.float32) for size in ((2, 24), (48, 2)))
    tensors = {"blk.0.attn_qkv.weight.lora_a": a, "blk.0.attn_qkv.weight.lora_b": b}
    write_gguf(tmp_path / "a.gguf", {"adapter.lora.alpha": alpha}, tensors)
    lora = read_adapter(tmp_path / "a.gguf", shape)
    pairs = {
        name: tuple(lora.layers[0][f"{name}.lora_{side}"] for side in "ab") for name in ("attn_q", "attn_k", "attn_v")
    }
    update = np.concatenate([lora.scale * b @ a for a, b in pairs.values()])
    np.testing.assert_allclose(update, (alpha / 2 if alpha else 1) * b @ a, rtol=1e-4)
    whole_a, whole_b = joined(pairs, {name: shape.table[0].linears[name] for name in pairs})
    np.testing.assert_allclose(lora.alpha / len(whole_a) * whole_b @ whole_a, update, rtol=1e-4)
