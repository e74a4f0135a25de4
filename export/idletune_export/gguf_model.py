"""A Hugging Face folder as a GGUF file, and a GGUF file in fewer bits.

llama.cpp's own converter writes the file, and its own quantizer makes the rest of it. What is checked here first is
what they would pass by: a missing tensor, and features of a model that llama.cpp computes otherwise.
"""

import ctypes
import tempfile
from pathlib import Path

import numpy as np
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.families import FAMILIES
from idletune.formats.gguf_file import GgufFile
from idletune.progress import Bars, no_bars
from idletune.settings import cores

from .hugging_face_folder import parameter_names, read_json, tensor_sizes
from .llama_cpp_converter import convert
from .sources import one_file
from .vocabulary import read_tokenizer

QUANTIZATIONS = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K_M": 15}  # llama.h, llama_ftype
FEW_BITS = ("Q4_0", "Q4_1", "Q4_K_M")
KNOWN = {kind for family in FAMILIES.values() for kind in family.names.model_types}


def write_gguf_model(folder: Path, path: Path, bars: Bars = no_bars) -> Path:
    """Convert a Hugging Face folder to a GGUF file in half precision; returns `path`.

    Raises UsageError (no config.json, no tokenizer, an unknown architecture, a feature llama.cpp does not know) and
    DamagedDataError (a missing or truncated shard, a missing tensor). Nothing is left at `path` then.
    """
    values = read_json(folder / "config.json")
    _refuse_unknown_features(values)
    if not (folder / "tokenizer.model").is_file():
        read_tokenizer(folder / "tokenizer.json")
    _check_tensors(folder, values)
    convert(folder, path, "f16", bars)
    return path


def write_quantized(folder: Path, path: Path, kind: str, bars: Bars = no_bars) -> Path:
    """Convert a Hugging Face folder to a GGUF file with weights of `kind`; returns `path`."""
    with tempfile.TemporaryDirectory(prefix=".idletune-", dir=path.parent) as scratch:
        half = write_gguf_model(folder, Path(scratch) / "half.gguf", bars)
        importance = None
        if kind in FEW_BITS and _has_class(read_json(folder / "config.json").get("model_type")):
            from .importance import column_importance

            importance = column_importance(folder)
        return quantize(half, path, kind, importance)


def quantize(source: Path, path: Path, kind: str, importance: dict[str, np.ndarray] | None = None) -> Path:
    """Write `source`, a GGUF file in half precision, with weights of `kind`; returns `path`.

    `importance` is float32 (columns,) by tensor name (see importance.py); it makes few bits lose less.
    """
    from idletune.model.llama_engine import llama, silence

    if kind not in QUANTIZATIONS:
        raise UsageError(f"quantization {kind!r} is unknown; choose from {', '.join(QUANTIZATIONS)}")
    GgufFile(one_file(source))
    silence()
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = QUANTIZATIONS[kind], cores()
    if importance:
        from .importance import as_llama_cpp

        weights = as_llama_cpp(importance)  # alive until the call is over
        parameters.imatrix = weights
    status = llama.llama_model_quantize(str(source).encode(), str(path).encode(), ctypes.byref(parameters))
    if status:
        Path(path).unlink(missing_ok=True)
        raise UsageError(f"llama.cpp cannot write {source.name} as {kind} ({status}); check the room on the disk")
    return path


def _has_class(model_type) -> bool:
    """Whether transformers can run the model, and its linear layers are known by name: importance.py needs both."""
    from transformers import CONFIG_MAPPING

    return model_type in KNOWN and model_type in CONFIG_MAPPING


def _check_tensors(folder: Path, values: dict) -> None:
    """DamagedDataError for a truncated shard, or a tensor that transformers' class has and the folder lacks."""
    missing = _parameters(values) - tensor_sizes(folder).keys()
    if missing:
        raise DamagedDataError(f"{folder} lacks {len(missing)} tensors, {min(missing)} first; fetch the model again")


def _parameters(values: dict) -> set[str]:
    """Names of the model's tensors; none for a model that this transformers has no class for."""
    from transformers import AutoConfig

    kind = values.get("model_type", "?")
    try:
        config = AutoConfig.for_model(kind, **{key: value for key, value in values.items() if key != "model_type"})
        return set(parameter_names(config))
    except (KeyError, TypeError, ValueError):  # as transformers finds a kind or a value strange
        return set()


def _refuse_unknown_features(values: dict) -> None:
    """What llama.cpp computes otherwise, whatever the file says."""
    kind, head_dim = values.get("model_type", "?"), values.get("head_dim", 256)
    if kind == "gemma3_text":
        found = values.get("query_pre_attn_scalar", 256)
        if found != head_dim:
            raise UsageError(f"attention scores scaled by {found} instead of {head_dim} are not converted")
        kinds = values.get("layer_types") or []
        if any((each == "full_attention") != ((n + 1) % 6 == 0) for n, each in enumerate(kinds)):
            raise UsageError("llama.cpp knows gemma3 with every sixth layer of full attention; this model's differ")
    if kind.startswith("qwen") and values.get("use_sliding_window", False):
        raise UsageError("sliding windows of a qwen model are not converted; set use_sliding_window to false")
