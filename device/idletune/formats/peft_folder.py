"""Writes a LoRA adapter as a folder that PEFT loads, without PyTorch.

Formats: PEFT's adapter_config.json and adapter_model.safetensors (huggingface.co/docs/peft, "PEFT checkpoint format");
safetensors (github.com/huggingface/safetensors, "Format"): the header's length as 8 bytes, JSON, and the tensors.
Modules have their names in transformers' decoder models (module_names.py). A fused matrix of a GGUF file is fused there
too; the adapter on it has a larger rank, which rank_pattern says.
"""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import DamagedDataError, UsageError
from .gguf_file import GgufFile
from .model_shape import ModelShape
from .module_names import Module

PREFIX = "base_model.model."
LAYER = re.compile(r"(?:layers|\.h)\.(\d+)\.(.+)")
ALIGNMENT = 8  # of the header's length, so that tensors lie at multiples of it

Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]  # module -> A (rank, columns) and B (rows, rank), float32


def peft_files(adapter: Path, base: Path) -> dict[str, bytes]:
    """The folder's two files by name, of a GGUF adapter. UsageError for a tensor that has no name in transformers."""
    file, known = GgufFile(adapter), ModelShape.of(GgufFile(base)).modules()
    modules = {module.tensor: (name, module) for name, module in known.items()}
    sides: dict[str, dict[str, np.ndarray]] = {}
    for tensor in file.tensors:
        name, module, side = _named(tensor, adapter, modules)
        array = _values(file, tensor)
        sides.setdefault(name, {})[side] = module.to_halves(array) if side == "b" else array
    pairs = {name: (pair["a"], pair["b"]) for name, pair in sides.items()}
    alpha = file.metadata.get("adapter.lora.alpha") or float(rank_of(pairs))
    return folder_files(pairs, alpha, base.name)


def folder_files(pairs: Pairs, alpha: float, base: str) -> dict[str, bytes]:
    """The folder's two files by name; each module's update is scaled by alpha / its rank. `base`: the model's name."""
    tensors = {f"{PREFIX}{name}.lora_{side}.weight": array for name in pairs for side, array in zip("AB", pairs[name])}
    return {"adapter_model.safetensors": safetensors(tensors), "adapter_config.json": _config(pairs, alpha, base)}


def rank_of(pairs: Pairs) -> int:
    """The least rank: that of the modules that are not fused."""
    return min(len(a) for a, _ in pairs.values())


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """Float32 arrays in safetensors' format."""
    header: dict = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    data = (np.ascontiguousarray(array, "<f4").tobytes() for array in tensors.values())
    return b"".join([struct.pack("<Q", len(text)), text, *data])


def _named(tensor: str, adapter: Path, modules: dict[str, tuple[str, Module]]) -> tuple[str, Module, str]:
    weight, _, side = tensor.rpartition(".lora_")
    if weight not in modules or side not in ("a", "b"):
        raise UsageError(f"{adapter.name} holds {tensor}, which has no name in PEFT here; export it as NAME.gguf")
    return *modules[weight], side


def _values(file: GgufFile, name: str) -> np.ndarray:
    tensor = file.tensor(name)
    if tensor.type.name != "F32":
        raise DamagedDataError(
            f"{file.path.name} holds {name} as {tensor.type.name}, not F32; it is no adapter of ours"
        )
    return file.raw(name).view("<f4").reshape(tensor.shape)


def _config(pairs: Pairs, alpha: float, base: str) -> bytes:
    rank, places = rank_of(pairs), [LAYER.search(name) for name in pairs]
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "rank_pattern": {place[0]: len(a) for place, (a, _) in zip(places, pairs.values()) if place and len(a) != rank},
        "target_modules": sorted({place[2] for place in places if place}),
        "layers_to_transform": sorted({int(place[1]) for place in places if place}),
    }
    return (json.dumps(config, indent=1) + "\n").encode()
