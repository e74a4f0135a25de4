"""A GGUF model as a transformers model, and its adapter as PEFT sees it.

The reference that training is held against: the same dequantized weights in PyTorch. The only difference
of layout is that GGUF's llama permutes the rows of Q and K so that rotary pairs become neighbours.
"""

from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def rows_to_halves(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K (heads * head_dim, n) from GGUF's neighbouring pairs to transformers' halves."""
    return array.reshape(heads, -1, 2, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)


def rows_to_neighbours(array: np.ndarray, heads: int) -> np.ndarray:
    """The inverse: from transformers' halves to GGUF's neighbouring pairs."""
    return array.reshape(heads, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)


def llama_config(shape, tied: bool) -> LlamaConfig:
    """The transformers configuration of a device.training.shape.ModelShape."""
    return LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, rms_norm_eps=shape.rms_eps, rope_theta=shape.rope_base,
        tie_word_embeddings=tied, max_position_embeddings=8192, attn_implementation="sdpa",
    )


def load_gguf(path: Path, shape) -> LlamaForCausalLM:
    """The model of a GGUF file in float32, every weight as gguf's own `dequantize` gives it."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}

    def weights(name):
        return dequantize(tensors[name].data, tensors[name].tensor_type).astype(np.float32)

    state = {"model.embed_tokens.weight": weights("token_embd.weight"), "model.norm.weight": weights("output_norm.weight")}
    heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}
    for layer in range(shape.layers):
        for ours, theirs in NAMES.items():
            array = weights(f"blk.{layer}.{ours}.weight")
            array = rows_to_halves(array, heads[ours]) if ours in heads else array
            state[f"model.layers.{layer}.{theirs}.weight"] = array
    tied = "output.weight" not in tensors
    state["lm_head.weight"] = state["model.embed_tokens.weight"] if tied else weights("output.weight")
    with torch.device("meta"):
        model = LlamaForCausalLM(llama_config(shape, tied))
    model.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in state.items()}, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)  # its buffers are not in the state
    return model.eval()


def with_peft(model: LlamaForCausalLM, lora):
    """`model` with a PEFT adapter holding the parameters of a device.training.lora.Lora."""
    from peft import LoraConfig, get_peft_model

    modules = [NAMES[name].rsplit(".")[-1] for name in lora.names]
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=modules)
    adapted = get_peft_model(model, config)
    for layer, name, parameter, side in peft_parameters(adapted, lora):
        array = lora.layers[layer][f"{name}.{side}"]
        parameter.data = torch.from_numpy(_to_peft(array, name, side, lora.shape).copy())
    return adapted


def peft_parameters(adapted, lora):
    """(layer, GGUF name, parameter, "lora_a" or "lora_b") of every LoRA tensor."""
    for layer, block in enumerate(adapted.base_model.model.model.layers):
        for name in lora.names:
            module = block.get_submodule(NAMES[name])
            yield layer, name, module.lora_A["default"].weight, "lora_a"
            yield layer, name, module.lora_B["default"].weight, "lora_b"


def from_peft(array: np.ndarray, name: str, side: str, shape) -> np.ndarray:
    """A PEFT tensor (or its gradient) in GGUF layout."""
    heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(name)
    return rows_to_neighbours(array, heads) if heads and side == "lora_b" else array


def _to_peft(array: np.ndarray, name: str, side: str, shape) -> np.ndarray:
    heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(name)
    return rows_to_halves(array, heads) if heads and side == "lora_b" else array
