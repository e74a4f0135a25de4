"""A GGUF model as a transformers model, and its adapter as PEFT sees it.

The reference that training is held against: the same dequantized weights in PyTorch. Two things are stored
differently: GGUF's llama permutes the rows of Q and K so that rotary pairs become neighbours, and gemma's
norms are stored with their 1 added.
"""

import copy
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from transformers import (
    AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, PretrainedConfig, PreTrainedModel, Qwen2Config, Qwen3Config,
)

LINEARS = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
BIASES = {f"{name}.bias": f"{LINEARS[name]}.bias" for name in ("attn_q", "attn_k", "attn_v")}
HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
SANDWICH_NORMS = {
    "attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
}
VECTORS = {"llama": NORMS, "qwen2": NORMS | BIASES, "qwen3": NORMS | HEAD_NORMS, "gemma3": SANDWICH_NORMS | HEAD_NORMS}
CONFIGS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config, "gemma3": Gemma3TextConfig}


def rows_to_halves(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K (heads * head_dim, n) from GGUF's neighbouring pairs to transformers' halves."""
    return array.reshape(heads, -1, 2, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)


def rows_to_neighbours(array: np.ndarray, heads: int) -> np.ndarray:
    """The inverse: from transformers' halves to GGUF's neighbouring pairs."""
    return array.reshape(heads, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)


def configuration(shape, tied: bool) -> PretrainedConfig:
    """The transformers configuration of a device.training.shape.ModelShape."""
    own = {"head_dim": shape.head_dim}
    if shape.architecture == "qwen2":
        own = {}  # hidden / heads, always
    if shape.architecture == "gemma3":
        kinds = ["sliding_attention" if shape.attention(n).window else "full_attention" for n in range(shape.layers)]
        own |= dict(
            layer_types=kinds, sliding_window=shape.window, rope_local_base_freq=shape.local_rope_base,
            query_pre_attn_scalar=shape.head_dim, hidden_activation="gelu_pytorch_tanh",
        )
    return CONFIGS[shape.architecture](
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        rms_norm_eps=shape.rms_eps, rope_theta=shape.rope_base,
        tie_word_embeddings=tied, max_position_embeddings=8192, attn_implementation="sdpa", **own,
    )


def load_gguf(path: Path, shape) -> PreTrainedModel:
    """The model of a GGUF file in float32, every weight as gguf's own `dequantize` gives it."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    tied = "output.weight" not in tensors
    names = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    names["token_embd.weight" if tied else "output.weight"] = "lm_head.weight"
    names |= {} if tied else {"token_embd.weight": "model.embed_tokens.weight"}
    for layer in range(shape.layers):
        for ours, theirs in (LINEARS | VECTORS[shape.architecture]).items():
            ours, theirs = (name if name.endswith(".bias") else f"{name}.weight" for name in (ours, theirs))
            names[f"blk.{layer}.{ours}"] = f"model.layers.{layer}.{theirs}"
    state = {}
    for ours, theirs in names.items():
        array = dequantize(tensors[ours].data, tensors[ours].tensor_type).astype(np.float32)
        state[theirs] = torch.from_numpy(np.ascontiguousarray(_to_hugging_face(array, ours, shape)))
    if tied:
        state["model.embed_tokens.weight"] = state["lm_head.weight"]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(shape, tied), attn_implementation="sdpa")
    model.load_state_dict(state, assign=True)
    _materialize(model)
    return model.eval()


def _to_hugging_face(array: np.ndarray, name: str, shape) -> np.ndarray:
    heads = _permuted_heads(name.split(".")[-2], shape)
    if heads:
        return rows_to_halves(array, heads)
    return array - 1 if shape.architecture == "gemma3" and name.endswith("norm.weight") else array


def _permuted_heads(name: str, shape) -> int:
    """Heads of Q or K where GGUF permutes their rows (llama), else 0."""
    return {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(name, 0) if shape.architecture == "llama" else 0


def _materialize(model) -> None:
    """Buffers that are computed, not stored, do not come with the state."""
    inner, config = model.model, model.config
    inner.rotary_emb = type(inner.rotary_emb)(config)
    if config.model_type == "gemma3_text":
        local = copy.deepcopy(config)
        local.rope_theta, local.rope_scaling = config.rope_local_base_freq, {"rope_type": "default"}
        inner.rotary_emb_local = type(inner.rotary_emb)(local)
        inner.embed_tokens.embed_scale = torch.tensor(config.hidden_size**0.5)


def with_peft(model: PreTrainedModel, lora):
    """`model` with a PEFT adapter holding the parameters of a device.training.lora.Lora."""
    from peft import LoraConfig, get_peft_model

    modules = [LINEARS[name].rsplit(".")[-1] for name in lora.names]
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
            module = block.get_submodule(LINEARS[name])
            yield layer, name, module.lora_A["default"].weight, "lora_a"
            yield layer, name, module.lora_B["default"].weight, "lora_b"


def from_peft(array: np.ndarray, name: str, side: str, shape) -> np.ndarray:
    """A PEFT tensor (or its gradient) in GGUF layout."""
    heads = _permuted_heads(name, shape)
    return rows_to_neighbours(array, heads) if heads and side == "lora_b" else array


def _to_peft(array: np.ndarray, name: str, side: str, shape) -> np.ndarray:
    heads = _permuted_heads(name, shape)
    return rows_to_halves(array, heads) if heads and side == "lora_b" else array
