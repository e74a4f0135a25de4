"""A Hugging Face folder as a GGUF file, and a GGUF file in fewer bits.

The gguf package writes the file; llama.cpp's own quantizer makes the rest of it. Norms and biases stay
float32, as llama.cpp expects.
"""

import ctypes
import logging
import tempfile
from pathlib import Path

import gguf
import numpy as np
from idletune.errors import DamagedDataError, UsageError
from idletune.model.gguf_file import GgufFile
from idletune.progress import no_bars
from idletune.settings import cores

from . import vocabulary
from .hugging_face_folder import load_config, parameter_names, read_json
from .layout import FLOATS, by_model_type, finish, gguf_name

QUANTIZATIONS = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K_M": 15}  # llama.h, llama_ftype
FEW_BITS = ("Q4_0", "Q4_1", "Q4_K_M")
logging.getLogger("gguf").setLevel(logging.ERROR)


def write_gguf_model(folder: Path, path: Path, bars=no_bars) -> Path:
    """Convert a Hugging Face folder to a GGUF file in half precision; returns `path`.

    Raises UsageError (no config.json, no tokenizer.json, an unknown architecture, a feature llama.cpp does
    not know) and DamagedDataError (a missing or truncated shard). Nothing is left at `path` then.
    """
    config = load_config(folder)
    architecture = by_model_type(config.model_type)
    _refuse_unknown_features(config)
    writer = gguf.GGUFWriter(path, architecture.name, use_temp_file=False)
    _add_metadata(writer, config, architecture, folder.name)
    vocabulary.add_to_gguf(writer, folder, config.vocab_size)
    names, wanted = architecture.names(config.num_hidden_layers), set(parameter_names(config))
    with bars("converting", len(wanted)) as bar:
        for done, (theirs, array) in enumerate(read_tensors(folder, wanted), start=1):
            name = gguf_name(names, theirs)
            array = architecture.to_gguf(name, array, config)
            writer.add_tensor(name, array.astype(np.float32 if array.ndim == 1 else np.float16))
            bar(done)
    finish(writer)
    return path


def write_quantized(folder: Path, path: Path, kind: str, bars=no_bars) -> Path:
    """Convert a Hugging Face folder to a GGUF file with weights of `kind`; returns `path`."""
    with tempfile.TemporaryDirectory(prefix=".idletune-", dir=path.parent) as scratch:
        half = write_gguf_model(folder, Path(scratch) / "half.gguf", bars)
        importance = None
        if kind in FEW_BITS:
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
    GgufFile(source)
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


def read_tensors(folder: Path, wanted: set[str]):
    """Yields (name, float32 array) of every wanted tensor, from one safetensors file or its shards."""
    import torch
    from safetensors import SafetensorError, safe_open

    missing = set(wanted)
    for shard in _shards(folder):
        try:
            with safe_open(shard, framework="pt") as file:
                for name in sorted(missing & set(file.keys())):
                    missing.discard(name)
                    yield name, file.get_tensor(name).to(torch.float32).numpy()
        except (SafetensorError, OSError) as error:
            raise DamagedDataError(f"{shard.name} is incomplete ({error}); fetch it again") from None
    if missing:
        raise DamagedDataError(f"{folder} lacks {len(missing)} tensors, {min(missing)} first; fetch the model again")


def _shards(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise UsageError(f"no model.safetensors in {folder}; save the model's weights as safetensors")
    shards = [folder / name for name in sorted(set(read_json(index)["weight_map"].values()))]
    for shard in shards:
        if not shard.is_file():
            raise DamagedDataError(f"the shard {shard.name} is missing; fetch the model again")
    return shards


def _refuse_unknown_features(config) -> None:
    scaling = getattr(config, "rope_scaling", None)
    if scaling and scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise UsageError(f"rope scaling {scaling.get('rope_type')!r} is not converted; use a model without it")
    if config.model_type == "gemma3_text":
        if config.query_pre_attn_scalar != config.head_dim:
            found, known = config.query_pre_attn_scalar, config.head_dim
            raise UsageError(f"attention scores scaled by {found} instead of {known} are not converted")
        if any((kind == "full_attention") != ((n + 1) % 6 == 0) for n, kind in enumerate(config.layer_types)):
            raise UsageError("llama.cpp knows gemma3 with every sixth layer of full attention; this model's differ")
    if config.model_type.startswith("qwen") and getattr(config, "use_sliding_window", False):
        raise UsageError("sliding windows of a qwen model are not converted; set use_sliding_window to false")


def _add_metadata(writer: gguf.GGUFWriter, config, architecture, name: str) -> None:
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocab_size)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    for key, attribute in architecture.metadata().items():
        value = head_dim if attribute == "head_dim" else getattr(config, attribute)
        add = writer.add_float32 if key in FLOATS else writer.add_uint32
        add(f"{architecture.name}.{key}", value)
    if architecture.turns_neighbours:
        writer.add_rope_dimension_count(head_dim)
