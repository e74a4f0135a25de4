"""The training graphs of a model: made for its shape, and held against PyTorch before they are used.

The one place of the export layer that calls `training_graphs`.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from idletune.errors import DamagedDataError, UsageError
from idletune.model.gguf_file import GgufFile
from idletune.training.graph_files import find_graphs
from idletune.training.layers import Layers
from idletune.training.lora import Lora
from idletune.training.rows import IGNORED, Example, make_row
from idletune.training.shape import ModelShape
from idletune.training.weights import Weights
from peft import PeftModel

from .adapter_files import Adapter, write_peft_folder
from .base import Base
from .hugging_face_folder import load_gguf_model
from .training_graphs import export_training_graphs

TARGETS = "q,k,v,o,gate,up,down"
LARGEST_LOSS_ERROR, LARGEST_GRADIENT_ERROR = 1e-6, 1e-4  # relative, against float64
LEAST_INT8_COSINE = 0.8  # of the gradient on int8 to the one in float32, for a model to be trained on int8
NEWEST_OPSET, MOST_CONSTANTS = 20, 1000


@dataclass
class TrainingCheck:
    """Relative errors of a small row with an adapter on all linear layers, ONNX Runtime against PyTorch."""

    loss: float
    loss_error: float
    gradient_error: float  # the worst LoRA tensor
    int8_cosine: float  # of the gradient with products on int8 to the one in float32


def write_training_graphs(base: Path, folder: Path) -> None:
    """Export the graphs of a GGUF model's shape; UsageError for an architecture that cannot be trained."""
    export_training_graphs(ModelShape.of(GgufFile(base)).block, folder)
    for path in sorted(folder.rglob("*.onnx")):
        _check_operators(path)


def provide_training_graphs(base: Path, folder: Path) -> None:
    """The same for a bundle: graphs that ship with the runtime are taken as they are, which saves a minute."""
    try:
        shutil.copytree(find_graphs(ModelShape.of(GgufFile(base)).block).folder, folder)
    except UsageError:  # none ship for this shape
        write_training_graphs(base, folder)


def _check_operators(path: Path) -> None:
    """Standard operators only, of an opset that phones' ONNX Runtime knows, and no weights inside."""
    graph = onnx.load(path)
    onnx.checker.check_model(graph)
    opset = max(entry.version for entry in graph.opset_import if not entry.domain)
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in graph.graph.node if node.domain})
    weights = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
    if opset > NEWEST_OPSET or foreign or weights > MOST_CONSTANTS:
        what = f"opset {opset}" if opset > NEWEST_OPSET else ", ".join(foreign) or f"{weights} constants"
        raise DamagedDataError(f"{path.name} has {what}, which phones may not run; use the torch version of the set-up")


def check_training_graphs(base: Path, folder: Path, texts: list[list[int]]) -> TrainingCheck:
    """Loss and gradients of a row of `texts` in ONNX Runtime and in PyTorch + PEFT, on the same weights.

    DamagedDataError when they differ.
    """
    shape = ModelShape.of(GgufFile(base))
    lora = _random_adapter(shape)
    graphs = find_graphs(shape.block, [folder])
    row = make_row([Example(np.array(t, np.int32), np.array([*t[1:], IGNORED], np.int32)) for t in texts])

    def gradient(int8: bool) -> tuple[float, np.ndarray]:
        weights, flat = Weights(GgufFile(base), shape, graphs.vectors, threads=0), np.zeros_like(lora.flat)
        layers = Layers(weights, graphs, lora, threads=0, recompute=True, int8=int8, int8_head=int8)
        return layers.gradients(row, flat, 1.0)[0], flat

    (loss, flat), (_, on_int8) = gradient(False), gradient(True)
    count, cosine = len(row.labelled), float(flat @ on_int8 / np.linalg.norm(flat) / np.linalg.norm(on_int8))
    ours = from_lora(flat, lora, Base(base)).modules
    their_loss, theirs = _in_torch(base, from_lora(lora.flat, lora, Base(base)), texts)
    errors = {name: max(map(_relative_error, ours[name], theirs[name])) for name in ours}
    worst = max(errors, key=errors.get)
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
    for module, tensor in base.gguf_names().items():
        _, layer, name, _ = tensor.split(".")
        if name in lora.names:
            a, b = (views[int(layer)][f"{name}.lora_{side}"] for side in "ab")
            modules[module] = a, base.architecture.to_hugging_face(tensor, b, base.config)
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
