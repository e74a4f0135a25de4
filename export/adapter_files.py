"""LoRA adapters between PEFT folders, GGUF (llama.cpp) and .onnx_adapter (ONNX Runtime), each way.

In memory an adapter is as PEFT has it: per module A (rank, columns) and B (rows, rank). GGUF names modules
after its own tensors and, for llama, permutes the rows of Q and K; the update is scaled by alpha / rank in
all three. What the other formats cannot say (DoRA, ranks that differ, whole modules) is refused by name.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from idletune.errors import DamagedDataError, UsageError
from idletune.model.gguf_file import GgufFile

from .base import Base
from .hugging_face_folder import read_json
from .layout import finish

PREFIX = "base_model.model."
PEFT_KEY = re.compile(re.escape(PREFIX) + r"(.+)\.lora_(A|B)\.weight")
SCALE = "lora_scale"  # the scalar input of an exported ONNX model: alpha / rank
ONNX_VERSION = 1
PRECISIONS = {"F32": gguf.GGMLQuantizationType.F32, "F16": gguf.GGMLQuantizationType.F16,
              "Q8_0": gguf.GGMLQuantizationType.Q8_0}


@dataclass
class Adapter:
    """`modules`: Hugging Face module name (model.layers.0.self_attn.q_proj) -> (A, B), float32."""

    alpha: float
    modules: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def rank(self) -> int:
        return len(next(iter(self.modules.values()))[0])

    def check(self, shapes: dict[str, tuple[int, int]]) -> "Adapter":
        """UsageError when a module is not in `shapes` (rows, columns) or its matrices do not fit it."""
        if not self.modules:
            raise UsageError("the adapter has no LoRA matrices; train it with LoRA")
        for name, (a, b) in self.modules.items():
            if name not in shapes:
                raise UsageError(f"the base model has no linear layer {name}; the adapter was made for another")
            rows, columns = shapes[name]
            if a.shape != (self.rank, columns) or b.shape != (rows, self.rank):
                raise UsageError(
                    f"{name} takes A {(self.rank, columns)} and B {(rows, self.rank)}, the adapter has {a.shape} and "
                    f"{b.shape}; one rank for all modules of this base model is needed"
                )
        return self


def convert_adapter(source: Path, target: Path, base: Path, precision: str = "F32") -> Adapter:
    """Convert an adapter; a folder is PEFT, `.gguf` and `.onnx_adapter` are what they say.

    `precision` (F32, F16 or Q8_0) is how a GGUF stores the matrices. Raises UsageError and DamagedDataError.
    """
    model = Base(base)
    adapter = read_adapter_file(source, model).check(model.shapes())
    if target.suffix == ".gguf":
        write_gguf_adapter(adapter, target, model, precision)
    elif target.suffix == ".onnx_adapter":
        write_onnx_adapter(adapter, target)
    else:
        write_peft_folder(adapter, target, str(base))
    return adapter


def read_adapter_file(path: Path, base: Base) -> Adapter:
    if path.is_dir():
        return read_peft_folder(path)
    if not path.is_file():
        raise UsageError(f"no adapter at {path}; give a PEFT folder, a .gguf or a .onnx_adapter file")
    return read_onnx_adapter(path) if path.suffix == ".onnx_adapter" else read_gguf_adapter(path, base)


def read_peft_folder(folder: Path) -> Adapter:
    """UsageError names what LoRA files of the other engines cannot hold."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = read_json(folder / "adapter_config.json")
    _refuse_unknown_kinds(config)
    try:
        state = load_file(folder / "adapter_model.safetensors")
    except FileNotFoundError:
        raise UsageError(f"no adapter_model.safetensors in {folder}; save the adapter with save_pretrained") from None
    except SafetensorError as error:
        raise DamagedDataError(f"adapter_model.safetensors is incomplete ({error}); fetch it again") from None
    sides: dict[str, dict] = {}
    for key, tensor in state.items():
        match = PEFT_KEY.fullmatch(key)
        if not match:
            raise UsageError(f"the adapter holds {key}, which is no LoRA matrix of a linear layer; train without it")
        sides.setdefault(match[1], {})[match[2]] = tensor.float().numpy()
    rank, alpha = config["r"], float(config["lora_alpha"])
    # rsLoRA scales by alpha / sqrt(rank): the same update as another alpha over rank.
    return Adapter(alpha * math.sqrt(rank) if config.get("use_rslora") else alpha, _pairs(sides))


def _refuse_unknown_kinds(config: dict) -> None:
    if config.get("peft_type") != "LORA":
        raise UsageError(f"the adapter is {config.get('peft_type')!r}, not LORA; only LoRA travels")
    named = {
        "DoRA (use_dora)": config.get("use_dora"), "modules_to_save": config.get("modules_to_save"),
        "rank_pattern": config.get("rank_pattern"), "alpha_pattern": config.get("alpha_pattern"),
        "fan_in_fan_out": config.get("fan_in_fan_out"), "lora_bias": config.get("lora_bias"),
        "trained biases": config.get("bias", "none") != "none",
    }
    for name, used in named.items():
        if used:
            raise UsageError(f"the adapter uses {name}, which llama.cpp cannot apply; train without it")


def _pairs(sides: dict[str, dict]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    for name, pair in sides.items():
        if set(pair) != {"A", "B"}:
            raise DamagedDataError(f"{name} has only one of its two LoRA matrices; save the adapter again")
    return {name: (pair["A"], pair["B"]) for name, pair in sorted(sides.items(), key=lambda item: _natural(item[0]))}


def _natural(name: str) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def write_peft_folder(adapter: Adapter, folder: Path, base: str) -> None:
    """A folder that `PeftModel.from_pretrained` loads."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {
        f"{PREFIX}{name}.lora_{side}.weight": np.ascontiguousarray(array)
        for name, pair in adapter.modules.items() for side, array in zip("AB", pair)
    }
    save_file(state, folder / "adapter_model.safetensors", {"format": "pt"})
    layers = sorted({int(re.search(r"layers\.(\d+)\.", name)[1]) for name in adapter.modules})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": adapter.rank,
        "lora_alpha": adapter.alpha, "lora_dropout": 0.0, "bias": "none", "inference_mode": True,
        "target_modules": sorted({name.rsplit(".", 1)[1] for name in adapter.modules}), "layers_to_transform": layers,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")


def read_gguf_adapter(path: Path, base: Base) -> Adapter:
    """DamagedDataError for a truncated file or one that is no adapter for the base's architecture."""
    metadata = GgufFile(path).metadata
    name = base.architecture.name
    if metadata.get("adapter.type") != "lora" or metadata.get("general.architecture") != name:
        raise DamagedDataError(f"{path.name} is not a LoRA adapter for {name}; give the adapter of this base model")
    modules, sides = {tensor: module for module, tensor in base.gguf_names().items()}, {}
    for tensor in gguf.GGUFReader(path).tensors:
        weight, _, side = tensor.name.rpartition(".lora_")
        if weight not in modules or side not in ("a", "b"):
            raise UsageError(f"the adapter holds {tensor.name}, which is no LoRA matrix of a linear layer")
        array = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if side == "b":
            array = base.architecture.to_hugging_face(weight, array, base.config)
        sides.setdefault(modules[weight], {})[side.upper()] = array
    adapter = Adapter(0.0, _pairs(sides))
    # llama.cpp reads a missing or zero alpha as a scale of 1.
    adapter.alpha = float(metadata.get("adapter.lora.alpha", 0.0)) or float(adapter.rank)
    return adapter


def write_gguf_adapter(adapter: Adapter, path: Path, base: Base, precision: str = "F32") -> None:
    """An adapter file for llama.cpp; rows that do not divide into Q8_0's blocks of 32 stay F16."""
    if precision not in PRECISIONS:
        raise UsageError(f"adapter precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}")
    writer = gguf.GGUFWriter(path, base.architecture.name)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", adapter.alpha)
    for module, tensor in base.gguf_names().items():
        for side, array in zip("ab", adapter.modules.get(module, ())):
            if side == "b":
                array = base.architecture.to_gguf(tensor, array, base.config)
            kind = PRECISIONS[precision]
            if precision == "Q8_0" and array.shape[1] % 32:
                kind = PRECISIONS["F16"]
            writer.add_tensor(f"{tensor}.lora_{side}", quantize(np.ascontiguousarray(array), kind), raw_dtype=kind)
    finish(writer)


def read_onnx_adapter(path: Path) -> Adapter:
    """DamagedDataError when ONNX Runtime cannot read the file."""
    import onnxruntime as ort

    try:
        values = ort.AdapterFormat.read_adapter(str(path)).get_parameters()
    except Exception as error:  # onnxruntime raises its own types
        raise DamagedDataError(f"{path.name} is not an ONNX Runtime adapter ({error}); export it again") from None
    arrays = {name: value.numpy().copy() for name, value in values.items()}
    scale = float(arrays.pop(SCALE, np.ones(1))[0])
    sides: dict[str, dict] = {}
    for name, array in arrays.items():
        module, _, side = name.removesuffix(".weight").rpartition(".lora_")
        sides.setdefault(module, {})[side] = array
    adapter = Adapter(0.0, _pairs(sides))
    adapter.alpha = scale * adapter.rank
    return adapter


def onnx_parameters(adapter: Adapter) -> dict[str, np.ndarray]:
    """The adapter as the inputs of an exported ONNX model."""
    scale = {SCALE: np.array([adapter.alpha / adapter.rank], np.float32)}
    return scale | {
        f"{name}.lora_{side}.weight": np.ascontiguousarray(array)
        for name, pair in adapter.modules.items() for side, array in zip("AB", pair)
    }


def write_onnx_adapter(adapter: Adapter, path: Path) -> None:
    """An adapter file for ONNX Runtime's `add_active_adapter`."""
    import onnxruntime as ort

    file = ort.AdapterFormat()
    file.set_adapter_version(ONNX_VERSION)
    file.set_model_version(ONNX_VERSION)
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in onnx_parameters(adapter).items()}
    file.set_parameters(values)
    file.export_adapter(str(path))
