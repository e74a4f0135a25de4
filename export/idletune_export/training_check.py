"""Training on a model, held against PyTorch before a phone gets it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from idletune.errors import DamagedDataError
from idletune.examples import IGNORE_INDEX, Example
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.training.layers import Layers
from idletune.training.lora import Lora
from idletune.training.packing import pack
from idletune.training.weights import Weights
from peft import PeftModel

from .adapter_files import Adapter, write_peft_folder
from .base import Base
from .hugging_face_folder import load_gguf_model

TARGETS = "q,k,v,o,gate,up,down"
LARGEST_LOSS_ERROR, LARGEST_GRADIENT_ERROR = 1e-6, 1e-4  # relative, against float64
LEAST_INT8_COSINE = 0.8  # of the int8 gradient to the float32 one, for a model to be trained with int8 products


@dataclass
class TrainingCheck:
    """Relative errors of a small row with an adapter on all linear layers, ONNX Runtime against PyTorch."""

    loss: float
    loss_error: float
    gradient_error: float  # the worst LoRA tensor
    int8_cosine: float  # of the gradient with int8 products to the one in float32


def check_training(base: Path, texts: list[list[int]]) -> TrainingCheck:
    """Loss and gradients of a row of `texts` in ONNX Runtime and in PyTorch + PEFT, on the same weights.

    DamagedDataError when they differ.
    """
    shape = ModelShape.of(GgufFile(base))
    lora = _random_adapter(shape)
    row = pack([Example(np.array(t, np.int32), np.array([*t[1:], IGNORE_INDEX], np.int32)) for t in texts])

    def gradient(int8: bool) -> tuple[float, np.ndarray]:
        weights, flat = Weights(GgufFile(base), shape, threads=0), np.zeros_like(lora.flat)
        layers = Layers(weights, lora, threads=0, recompute=True, int8=int8, int8_head=int8)
        return layers.gradients(row, flat, 1.0)[0], flat

    (loss, flat), (_, on_int8) = gradient(False), gradient(True)
    count, cosine = len(row.labelled_positions), float(flat @ on_int8 / np.linalg.norm(flat) / np.linalg.norm(on_int8))
    ours = from_lora(flat, lora, Base(base)).modules
    their_loss, theirs = _in_torch(base, from_lora(lora.flat, lora, Base(base)), texts)
    errors = {name: max(map(_relative_error, ours[name], theirs[name])) for name in ours}
    worst = max(errors, key=errors.__getitem__)
    check = TrainingCheck(loss / count, abs(loss / their_loss - 1), errors[worst], cosine)
    if not (check.loss_error <= LARGEST_LOSS_ERROR and check.gradient_error <= LARGEST_GRADIENT_ERROR):
        raise DamagedDataError(
            f"the training graphs differ from PyTorch: loss by {check.loss_error:.1e}, the gradient of {worst} by "
            f"{check.gradient_error:.1e} of its size; report it with the model's name"
        )
    return check


def from_lora(flat: np.ndarray, lora: Lora, base: Base) -> Adapter:
    """A vector of a device's Lora (parameters or gradients) as PEFT has it."""
    modules, views = {}, lora.views(flat)
    for path, module in base.modules.items():
        _, layer, name, _ = module.tensor.split(".")
        if name in lora.names:
            a, b = (views[int(layer)][f"{name}.lora_{side}"] for side in "ab")
            modules[path] = a, module.to_halves(b)
    return Adapter(lora.alpha, modules)


def _random_adapter(shape: ModelShape) -> Lora:
    """B is not zero, so that every gradient counts."""
    lora = Lora(shape, TARGETS, 4, 8).initialize(0)
    rng = np.random.default_rng(1)
    for views in lora.layers:
        for name, view in views.items():
            if name.endswith("lora_b"):
                view[...] = 0.02 * rng.standard_normal(view.shape)
    return lora


def _in_torch(base: Path, adapter: Adapter, texts) -> tuple[float, dict]:
    """Summed loss, and the gradients {module: (dA, dB)}; every text runs alone, so packing is checked too."""
    with tempfile.TemporaryDirectory() as scratch:
        write_peft_folder(adapter, Path(scratch), "base")
        model = PeftModel.from_pretrained(load_gguf_model(base), scratch, is_trainable=True).double()
    total = 0.0
    for tokens in texts:
        logits = model(torch.tensor([tokens])).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(tokens[1:]), reduction="sum")
        loss.backward()
        total += loss.item()
    modules = {name: model.get_submodule(f"base_model.model.{name}") for name in adapter.modules}
    return total, {
        name: (m.lora_A["default"].weight.grad.numpy(), m.lora_B["default"].weight.grad.numpy())
        for name, m in modules.items()
    }


def _relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
