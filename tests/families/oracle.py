"""The family's own class in PyTorch with PEFT, in float64: what losses and gradients are compared with."""

from pathlib import Path

import numpy as np
import torch
from families.classes import load
from families.models import TinyModel
from peft import LoraConfig, PeftModel, get_peft_model

# A product of several linear layers at once -> those layers, with the shares of its rows they take.
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


class Apart(torch.nn.Module):
    """A fused linear layer as its parts, so that each can carry an adapter of its own."""

    def __init__(self, fused: torch.nn.Linear, names: tuple[str, ...], rows: list[int]):
        super().__init__()
        for name, weight in zip(names, fused.weight.detach().split(rows)):
            part = torch.nn.Linear(weight.shape[1], len(weight), bias=False, dtype=weight.dtype)
            part.weight.data = weight.clone()
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([part(x) for part in self.children()], dim=-1)


def adapted_model(tiny: TinyModel, folder: Path, lora) -> PeftModel:
    """The model of a folder with a PEFT adapter that holds the parameters of `lora`."""
    model = load(tiny, folder, torch.float64)
    _take_apart(model)
    names = [f"layers.{layer}.{tiny.modules[name]}" for layer, name, _ in _tensors(lora) if _ == "lora_a"]
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=names)
    adapted = get_peft_model(model, config).double()
    for layer, name, side in _tensors(lora):
        value = lora.layers[layer][f"{name}.{side}"]
        parameter(adapted, tiny, layer, name, side).data = torch.from_numpy(
            reordered(value, tiny, name, side, back=True).astype(np.float64)
        )
    return adapted


def gradient_errors(adapted: PeftModel, tiny: TinyModel, lora, flat: np.ndarray) -> dict[str, float]:
    """|ours - theirs| / |theirs| for the gradient of every LoRA tensor; `flat` holds ours."""
    ours, errors = lora.views(flat), {}
    for layer, name, side in _tensors(lora):
        gradient = parameter(adapted, tiny, layer, name, side).grad.numpy()
        theirs = reordered(gradient, tiny, name, side)
        size = np.linalg.norm(theirs)
        assert size > 0, f"no gradient reaches {layer}.{name}.{side}"
        errors[f"{layer}.{name}.{side}"] = float(np.linalg.norm(ours[layer][f"{name}.{side}"] - theirs) / size)
    return errors


def parameter(adapted: PeftModel, tiny: TinyModel, layer: int, name: str, side: str) -> torch.nn.Parameter:
    module = adapted.base_model.model.model.layers[layer].get_submodule(tiny.modules[name])
    return (module.lora_A if side == "lora_a" else module.lora_B)["default"].weight


def reordered(value: np.ndarray, tiny: TinyModel, name: str, side: str, back: bool = False) -> np.ndarray:
    """B of Q and K with rows in GGUF's order, where the converter reorders them; `back` is the inverse."""
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(name)
    if not (tiny.permutes and heads and side == "lora_b"):
        return value
    rows = (tiny.options()[heads], -1, 2) if back else (tiny.options()[heads], 2, -1)
    return value.reshape(*rows, value.shape[1]).swapaxes(1, 2).reshape(value.shape)


def _tensors(lora) -> list[tuple[int, str, str]]:
    """(layer, GGUF name, side) of every LoRA tensor."""
    return [(n, *name.rsplit(".", 1)) for n, views in enumerate(lora.layers) for name in views]


def _take_apart(model: torch.nn.Module) -> None:
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = [config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads]
    rows = {"qkv_proj": [n * head_dim for n in heads], "gate_up_proj": [config.intermediate_size] * 2}
    for parent in list(model.modules()):
        for name, parts in FUSED.items():
            fused = getattr(parent, name, None)
            if isinstance(fused, torch.nn.Linear):
                setattr(parent, name, Apart(fused, parts, rows[name]))
