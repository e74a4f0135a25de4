"""A device's adapter in PEFT, on the same dequantized weights: what training is held against."""

import numpy as np
import torch
from transformers import PreTrainedModel

from .layout import rows_to_halves, rows_to_neighbours

LINEARS = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def with_peft(model: PreTrainedModel, lora):
    """`model` with a PEFT adapter holding the parameters of a device.training.lora.Lora."""
    from peft import LoraConfig, get_peft_model

    modules = [LINEARS[name].rsplit(".")[-1] for name in lora.names]
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=modules,
        layers_to_transform=list(range(lora.first, lora.shape.layers)),
    )
    adapted = get_peft_model(model, config)
    for layer, name, parameter, side in peft_parameters(adapted, lora):
        array = lora.layers[layer][f"{name}.{side}"]
        parameter.data = torch.from_numpy(_to_peft(array, name, side, lora.shape).copy())
    return adapted


def peft_parameters(adapted, lora):
    """(layer, GGUF name, parameter, "lora_a" or "lora_b") of every LoRA tensor."""
    for layer, block in list(enumerate(adapted.base_model.model.model.layers))[lora.first :]:
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


def _permuted_heads(name: str, shape) -> int:
    """Heads of Q or K where GGUF permutes their rows (llama), else 0."""
    return {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(name, 0) if shape.architecture == "llama" else 0
