"""A GGUF model as a Hugging Face folder: config.json, model.safetensors and the tokenizer.

The quantized blocks become half precision, which holds what GGUF's F16 holds. The folder is what
transformers, PEFT and optimum start from, and the original that every exported file is held against.
"""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize
from idletune.errors import DamagedDataError, UsageError
from idletune.formats.gguf_file import GgufFile
from idletune.progress import Bars, no_bars
from idletune.small_files import read_json_object
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from . import vocabulary
from .layout import Architecture, by_gguf_name, by_model_type, gguf_name
from .sources import one_file

ROPE_FREQS = "rope_freqs.weight"
# Of every published Llama 3.1, 3.2 and 3.3; the factor differs.
LLAMA3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def write_hugging_face_folder(gguf_path: Path, folder: Path, dtype: type = np.float16, bars: Bars = no_bars) -> Path:
    """Dequantize a GGUF file into `folder`, which is made; returns it.

    Raises UsageError for an unknown architecture, tensor or tokenizer, DamagedDataError for a truncated file.
    """
    GgufFile(one_file(gguf_path))  # checks its sizes, with clear errors
    reader = gguf.GGUFReader(gguf_path)
    config, architecture = read_config(reader)
    vocabulary_ = vocabulary.from_gguf(reader)
    for role, id in vocabulary_.roles.items():
        if role != "unk":
            setattr(config, f"{role}_token_id", id)
    config.dtype = np.dtype(dtype).name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_weights(reader, architecture, config, dtype, bars), folder / "model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)
    vocabulary.write_tokenizer(vocabulary_, folder)
    return folder


def read_config(reader: gguf.GGUFReader) -> tuple:
    """(transformers configuration, Architecture) of a GGUF file's metadata."""
    architecture = by_gguf_name(_value(reader, "general.architecture", "?"))
    if _value(reader, f"{architecture.name}.rope.scaling.type", "none") != "none":
        raise UsageError(f"{_value(reader, 'general.name', 'the model')} uses rope scaling, which is not exported")
    found = _numbers(reader, architecture)
    missing = {"hidden_size", "num_hidden_layers", "num_attention_heads"} - set(found)
    if missing:
        raise DamagedDataError(f"the file's metadata lacks {', '.join(sorted(missing))}; convert the model again")
    names = {tensor.name: tensor for tensor in reader.tensors}
    config = AutoConfig.for_model(
        architecture.model_type,
        **found
        | {
            "vocab_size": int(names["token_embd.weight"].shape[1]),
            "tie_word_embeddings": "output.weight" not in names,
            "head_dim": found.get("head_dim", found["hidden_size"] // found["num_attention_heads"]),
        },
    )
    model_class: Any = AutoModelForCausalLM._model_mapping[type(config)]  # transformers has no public look-up
    config.architectures = [model_class.__name__]
    if ROPE_FREQS in names and (scaling := _rope_scaling(config, dequantized(names[ROPE_FREQS]))):
        config.rope_scaling = scaling
    if architecture.name == "gemma3":
        config.query_pre_attn_scalar = config.head_dim  # as llama.cpp scales the scores
    return config, architecture


def _rope_scaling(config: PretrainedConfig, divisors: np.ndarray) -> dict | None:
    """The scaling of rotary positions whose divisors a file of Llama 3.1 or later holds; None where all are 1.

    The file has no more than the divisors: they are compared with those that the published models' settings give.
    UsageError for others.
    """
    factor = float(divisors.max())
    if np.all(divisors == 1):
        return None
    scaling = {"rope_type": "llama3", "factor": factor, **LLAMA3_ROPE}
    scaled = type(config).from_dict(config.to_dict() | {"rope_scaling": scaling})
    plain = config.rope_theta ** -(np.arange(0, config.head_dim, 2) / config.head_dim)
    inverse, _ = ROPE_INIT_FUNCTIONS["llama3"](scaled, "cpu")
    if divisors.shape != plain.shape or not np.allclose(plain / inverse.numpy(), divisors, rtol=1e-4):
        raise UsageError(f"{ROPE_FREQS} is not of Llama 3.1 or later, and cannot be exported; use another model")
    return scaling


def _value(reader: gguf.GGUFReader, key: str, default=None):
    field = reader.get_field(key)
    return default if field is None else field.contents()


def _numbers(reader: gguf.GGUFReader, architecture: Architecture) -> dict:
    """Configuration attribute -> number, of those the file names."""
    found = {}
    for key, attribute in architecture.metadata().items():
        number = _value(reader, f"{architecture.name}.{key}")
        if number is not None:
            # The file's float32 says 9.99999e-06 where a person wrote 1e-05.
            found[attribute] = float(f"{number:.6g}") if isinstance(number, float) else number
    return found


def _weights(reader, architecture: Architecture, config, dtype, bars) -> dict[str, np.ndarray]:
    """Every tensor of the model under its Hugging Face name."""
    wanted = {gguf_name(architecture.names(config.num_hidden_layers), name): name for name in parameter_names(config)}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    missing = sorted(set(wanted) - set(tensors))
    if missing:
        raise DamagedDataError(f"the file lacks {len(missing)} tensors, {missing[0]} first; it is not a complete model")
    unknown = sorted(set(tensors) - set(wanted) - {ROPE_FREQS})
    if unknown:  # llama.cpp computes with them all: a model without them would be another one
        raise UsageError(
            f"the file has {len(unknown)} tensors that cannot be exported, {unknown[0]} first; use another model"
        )
    state = {}
    with bars("dequantizing", len(wanted)) as bar:
        for done, (name, theirs) in enumerate(wanted.items(), start=1):
            array = dequantized(tensors[name])
            state[theirs] = np.ascontiguousarray(architecture.to_hugging_face(name, array, config), dtype)
            bar(done)
    return state


def dequantized(tensor: gguf.ReaderTensor) -> np.ndarray:
    """Its values in float32, shaped as PyTorch has them."""
    return dequantize(tensor.data, tensor.tensor_type).astype(np.float32)


def parameter_names(config: PretrainedConfig) -> list[str]:
    """The parameters of the model that a configuration describes; a tied head is left out."""
    import torch

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    names = list(dict(model.named_parameters()))
    return [name for name in names if not (config.tie_word_embeddings and name == "lm_head.weight")]


def load_gguf_model(path: Path) -> PreTrainedModel:
    """A GGUF's model in transformers, in float32: exactly the weights that the file holds."""
    import torch
    from transformers.modeling_utils import no_init_weights

    reader = gguf.GGUFReader(path)
    config, architecture = read_config(reader)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    state = _weights(reader, architecture, config, np.float32, no_bars)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=False)
    model.tie_weights()
    return model.eval()


def load(folder: Path) -> PreTrainedModel:
    """The folder's model in float32, ready to answer."""
    import torch

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    return model.eval()


def read_json(path: Path) -> dict:
    """UsageError when it is missing, DamagedDataError when it is not a JSON object."""
    if not path.is_file():
        raise UsageError(f"no {path.name} in {path.parent}; give a Hugging Face model folder or a GGUF file")
    return read_json_object(path, "a JSON object", "fetch it again")


def load_config(folder: Path) -> PretrainedConfig:
    """The transformers configuration of a folder; UsageError when there is none of a known architecture."""
    values = read_json(folder / "config.json")
    architecture = by_model_type(values.get("model_type", "?"))
    try:
        return AutoConfig.for_model(architecture.model_type, **{k: v for k, v in values.items() if k != "model_type"})
    except (KeyError, TypeError, ValueError) as error:  # as transformers finds values missing or strange
        raise UsageError(f"{folder / 'config.json'} cannot be read as a {architecture.model_type}: {error}") from None


def tensor_sizes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor by name, without the weights. DamagedDataError for a missing or truncated shard."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[int, ...]] = {}
    for shard in _shards(folder):
        try:
            with safe_open(shard, framework="np") as file:
                found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        except (SafetensorError, OSError) as error:
            raise DamagedDataError(f"{shard.name} is incomplete ({error}); fetch it again") from None
    return found


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
