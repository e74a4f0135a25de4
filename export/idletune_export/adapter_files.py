"""LoRA adapters between PEFT folders, GGUF (llama.cpp) and .onnx_adapter (ONNX Runtime), each way.

In memory an adapter is as PEFT has it: per module A (rank, columns) and B (rows, rank). GGUF names modules
after its own tensors and, for some families, permutes the rows of Q and K (idletune.formats.module_names); the
update is scaled by alpha / rank in all three. What the other formats cannot say (DoRA, whole modules, alphas
that differ; in .onnx_adapter ranks that differ) is refused by name (peft_config.py).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.formats.peft_folder import PREFIX, folder_files, rank_of
from idletune.training.lora import alpha_of

from .base import Base, in_text_model
from .layout import finish
from .peft_config import read_peft_config

PEFT_KEY = re.compile(re.escape(PREFIX) + r"(.+)\.lora_(A|B)\.weight")
SCALE = "lora_scale"  # the scalar input of an exported ONNX model: alpha / rank
ONNX_VERSION = 1
PRECISIONS = {
    "F32": gguf.GGMLQuantizationType.F32,
    "F16": gguf.GGMLQuantizationType.F16,
    "Q8_0": gguf.GGMLQuantizationType.Q8_0,
}


@dataclass
class Adapter:
    """`modules`: Hugging Face module name (model.layers.0.self_attn.q_proj) -> (A, B), float32."""

    alpha: float
    modules: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def rank(self) -> int:
        """The least, where they differ."""
        return rank_of(self.modules)

    def check(self, shapes: dict[str, tuple[int, int]]) -> "Adapter":
        """UsageError when a module is not in `shapes` (rows, columns) or its matrices do not fit it."""
        if not self.modules:
            raise UsageError("the adapter has no LoRA matrices; train it with LoRA")
        for name, (a, b) in self.modules.items():
            if name not in shapes:
                raise UsageError(
                    f"the adapter has {name}, no linear layer of this base model that can be converted; give the model "
                    "that it was made for, or train it without"
                )
            rows, columns = shapes[name]
            if a.shape != (len(a), columns) or b.shape != (rows, len(a)):
                raise UsageError(
                    f"{name} takes A {(len(a), columns)} and B {(rows, len(a))}, the adapter has {a.shape} and "
                    f"{b.shape}; give the base model that it was made for"
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

    config = read_peft_config(folder)
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
        if tensor.ndim != 2 or not tensor.is_floating_point():
            raise DamagedDataError(f"{key} is {tensor.dtype} of {tensor.ndim} dimensions, not a matrix of real numbers")
        sides.setdefault(in_text_model(match[1]), {})[match[2]] = tensor.float().numpy()
    adapter = Adapter(0.0, _pairs(sides))
    for name, (a, _) in adapter.modules.items():
        if len(a) != config.rank_of(name):
            has = f"the matrices of {name} have rank {len(a)}, r is {config.rank_of(name)}"
            raise DamagedDataError(f"{has}; save the adapter again")
    adapter.alpha = config.alpha_of({len(a) for a, _ in adapter.modules.values()})
    return adapter


def _pairs(sides: dict[str, dict]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    for name, pair in sides.items():
        if set(pair) != {"A", "B"}:
            raise DamagedDataError(f"{name} has only one of its two LoRA matrices; save the adapter again")
        for side, array in pair.items():
            if array.ndim != 2:
                raise DamagedDataError(f"lora_{side} of {name} has {array.ndim} dimensions, not 2; save it again")
            if not np.isfinite(array).all():
                raise DamagedDataError(f"lora_{side} of {name} holds NaN or infinity; train the adapter again")
    return {name: (pair["A"], pair["B"]) for name, pair in sorted(sides.items(), key=lambda item: _natural(item[0]))}


def _natural(name: str) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def write_peft_folder(adapter: Adapter, folder: Path, base: str) -> None:
    """A folder that `PeftModel.from_pretrained` loads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in folder_files(adapter.modules, adapter.alpha, base).items():
        (folder / name).write_bytes(content)


def read_gguf_adapter(path: Path, base: Base) -> Adapter:
    """DamagedDataError for a truncated file or one that is no adapter for the base's architecture."""
    metadata = GgufFile(path).metadata
    name = base.architecture
    if metadata.get("adapter.type") != "lora" or metadata.get("general.architecture") != name:
        raise DamagedDataError(f"{path.name} is not a LoRA adapter for {name}; give the adapter of this base model")
    modules = {module.tensor: (name, module) for name, module in base.modules.items()}
    sides: dict[str, dict[str, np.ndarray]] = {}
    for tensor in gguf.GGUFReader(path).tensors:
        weight, _, side = tensor.name.rpartition(".lora_")
        if weight not in modules or side not in ("a", "b"):
            raise UsageError(f"the adapter holds {tensor.name}, which is no LoRA matrix of a layer with a name in PEFT")
        array, (name, module) = dequantize(tensor.data, tensor.tensor_type).astype(np.float32), modules[weight]
        sides.setdefault(name, {})[side.upper()] = module.to_halves(array) if side == "b" else array
    adapter = Adapter(alpha_of(metadata, path.name), _pairs(sides))
    return adapter if adapter.alpha or not adapter.modules else _with_alpha(adapter)


def _with_alpha(adapter: Adapter) -> Adapter:
    """llama.cpp reads a missing or zero alpha as a scale of 1, whatever the rank."""
    alpha = float(adapter.rank)
    return Adapter(alpha, {name: (a, b * np.float32(len(a) / alpha)) for name, (a, b) in adapter.modules.items()})


def write_gguf_adapter(adapter: Adapter, path: Path, base: Base, precision: str = "F32") -> None:
    """An adapter file for llama.cpp; rows that do not divide into Q8_0's blocks of 32 stay F16."""
    if precision not in PRECISIONS:
        raise UsageError(f"adapter precision {precision!r} is unknown; choose from {', '.join(PRECISIONS)}")
    writer = gguf.GGUFWriter(path, base.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", adapter.alpha)
    for name, module in base.modules.items():
        for side, array in zip("ab", adapter.modules.get(name, ())):
            array = module.to_gguf(array) if side == "b" else array
            kind = PRECISIONS[precision]
            if precision == "Q8_0" and array.shape[1] % 32:
                kind = PRECISIONS["F16"]
            stored = quantize(np.ascontiguousarray(array), kind)
            writer.add_tensor(f"{module.tensor}.lora_{side}", stored, raw_dtype=kind)
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
    """The adapter as the inputs of an exported ONNX model, which have one scale; UsageError for ranks that differ."""
    if len(ranks := {len(a) for a, _ in adapter.modules.values()}) > 1:
        raise UsageError(f"the adapter has the ranks {sorted(ranks)}; an .onnx_adapter holds one rank for all modules")
    scale = {SCALE: np.array([adapter.alpha / adapter.rank], np.float32)}
    return scale | {
        f"{name}.lora_{side}.weight": np.ascontiguousarray(array)
        for name, pair in adapter.modules.items()
        for side, array in zip("AB", pair)
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
