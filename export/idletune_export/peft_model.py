"""A device's adapter in PEFT, on the same dequantized weights: the reference for training.

For models whose linear layers have tensors of their own.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from idletune.formats.model_shape import ModelShape
from idletune.formats.module_names import Module
from idletune.training.lora import Lora
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from peft import PeftModel


def with_peft(model: PreTrainedModel, lora: Lora) -> "PeftModel":
    """`model` with a PEFT adapter that holds the parameters of `lora`."""
    from peft import LoraConfig, get_peft_model

    names = [name for name, _, _ in _adapted(lora)]
    adapted = get_peft_model(
        model, LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=names)
    )
    for layer, name, parameter, side in peft_parameters(adapted, lora):
        array = lora.layers[layer][f"{name}.{side}"]
        array = _module(name, lora.shape).to_halves(array) if side == "lora_b" else array
        parameter.data = torch.from_numpy(array.copy())
    return adapted


def peft_parameters(adapted: "PeftModel", lora: Lora) -> Iterator[tuple[int, str, torch.nn.Parameter, str]]:
    """(layer, GGUF name, parameter, "lora_a" or "lora_b") of every LoRA tensor."""
    for path, layer, name in _adapted(lora):
        module = adapted.base_model.model.get_submodule(path)
        yield layer, name, module.lora_A["default"].weight, "lora_a"
        yield layer, name, module.lora_B["default"].weight, "lora_b"


def from_peft(array: np.ndarray, name: str, side: str, shape: ModelShape) -> np.ndarray:
    """A PEFT tensor (or its gradient) in GGUF layout."""
    return _module(name, shape).to_gguf(array) if side == "lora_b" else array


def _adapted(lora: Lora) -> Iterator[tuple[str, int, str]]:
    """Name in transformers, layer and GGUF name of every linear layer with an adapter."""
    names = {module.tensor: name for name, module in lora.shape.modules().items()}
    for layer, views in enumerate(lora.layers):
        for name in lora.names:
            if f"{name}.lora_a" in views:
                yield names[f"blk.{layer}.{name}.weight"], layer, name


def _module(name: str, shape: ModelShape) -> Module:
    """A linear layer of the first layer: rows of Q and K lie alike in all."""
    return next(module for module in shape.modules().values() if module.tensor == f"blk.0.{name}.weight")
