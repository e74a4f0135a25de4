"""What a tensor of a GGUF file is in a Hugging Face model: names, metadata, layout.

Names come from the gguf package's own map. Two things are stored differently: llama's rows of Q and K
(GGUF turns neighbouring values, transformers halves) and gemma's norms (GGUF stores them plus one).
Source: llama.cpp, convert_hf_to_gguf.py.
"""

from dataclasses import dataclass

import gguf
import numpy as np
from idletune.errors import UsageError
from idletune.formats.families import FAMILIES
from idletune.formats.module_names import rows_to_halves

SUFFIXES = (".weight", ".bias")
QUERY_OR_KEY = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}

# GGUF metadata (behind the architecture's name) -> the configuration's attribute.
METADATA = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
HEAD_METADATA = {"attention.key_length": "head_dim", "attention.value_length": "head_dim"}


@dataclass(frozen=True)
class Architecture:
    """One model family: its GGUF name, transformers' `model_type`, and how its storage differs."""

    name: str
    model_type: str
    norms_plus_one: bool = False

    def metadata(self) -> dict[str, str]:
        """GGUF key -> configuration attribute."""
        own = {"attention.sliding_window": "sliding_window"} if self.name == "gemma3" else {}
        return METADATA | HEAD_METADATA | own

    def names(self, layers: int):
        """The gguf package's map from Hugging Face tensor names."""
        number = next(n for n, name in gguf.MODEL_ARCH_NAMES.items() if name == self.name)
        return gguf.get_tensor_name_map(number, layers)

    def to_hugging_face(self, name: str, array: np.ndarray, config) -> np.ndarray:
        """A tensor as transformers has it; `name` is the GGUF name, dtype stays."""
        short = name.split(".")[-2]
        if FAMILIES[self.name].names.permutes and short in QUERY_OR_KEY:
            heads = getattr(config, QUERY_OR_KEY[short])
            return rows_to_halves(array.reshape(len(array), -1), heads).reshape(array.shape)
        if self.norms_plus_one and short.endswith("norm"):
            return array - array.dtype.type(1)
        return array


ARCHITECTURES = (
    Architecture("llama", "llama"),
    Architecture("qwen2", "qwen2"),
    Architecture("qwen3", "qwen3"),
    Architecture("gemma3", "gemma3_text", norms_plus_one=True),
)


def by_gguf_name(name: str) -> Architecture:
    return _find(name, "name")


def by_model_type(model_type: str) -> Architecture:
    return _find(model_type, "model_type")


def gguf_name(names, hugging_face: str) -> str:
    """UsageError for a tensor the architecture does not have."""
    found = names.get_name(hugging_face, SUFFIXES)
    if found is None:
        raise UsageError(f"tensor {hugging_face} has no place in GGUF; this architecture does not know such a part")
    return found


def _find(wanted: str, attribute: str) -> Architecture:
    for architecture in ARCHITECTURES:
        if getattr(architecture, attribute) == wanted:
            return architecture
    known = ", ".join(getattr(a, attribute) for a in ARCHITECTURES)
    raise UsageError(f"architecture {wanted!r} is unknown; known: {known}")


def finish(writer: gguf.GGUFWriter) -> None:
    """Write what was added, and close the file."""
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
