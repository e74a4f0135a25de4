"""Checks what llama.cpp only asserts of a GGUF file, before it opens one: a failed assertion ends the process.

The assertions are those of llama-cpp-python 0.3.36 (llama-model.cpp, llama-vocab.cpp, models/*.cpp, ggml's rope and
norm operators). What llama.cpp returns as an error is not repeated here.
"""

import math
from collections import Counter
from typing import Any, NoReturn, overload

from ..errors import DamagedDataError
from .gguf_file import GgufFile

MOST_LAYERS, MOST_EXPERTS, MOST_TOKENS = 512, 1024, 2**24
MOST = 2**31 - 1
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
# Not the others: "none", "no_vocab" and "test" make no text, "bert" has no tokens for bytes, and "rwkv" loops forever
# on text that no token begins with.
TOKENIZERS = ("llama", "gpt2", "gemma4", "t5", "plamo2", "hybriddna", "whitespace")
# Architectures whose layers are of one size; of the first, positions turn all of a head.
WHOLE_ROTARY = (
    *("llama", "qwen2", "qwen3", "smollm3", "mistral3", "ernie4_5", "exaone", "granite", "minicpm", "olmo2", "exaone4"),
    "hunyuan-dense",
)
ALIKE_LAYERS = (*WHOLE_ROTARY, "gemma2", "gemma3", "phi3")
BYTE_FALLBACK = ("llama", "t5", "plamo2")  # tokenizers that look up every byte they have no token for
BEGINS = {"llama": 1, "plamo2": 1, "gpt2": 11, "hybriddna": 11, "whitespace": 11}  # default token ids
ENDS = {"llama": 2, "plamo2": 2, "t5": 1, "gpt2": 11, "hybriddna": 11, "whitespace": 11}
ALWAYS_BEGIN = ("llama", "gemma4")  # their texts, where the file does not say otherwise


def check_metadata(gguf: GgufFile) -> None:
    """DamagedDataError names the key and the value for which llama.cpp would end the process."""
    metadata = _Metadata(gguf)
    _check_sizes(metadata)
    _check_attention(metadata)
    _check_experts(metadata)
    _check_rope(metadata)
    _check_numbers(metadata)
    for tensor in gguf.tensors.values():
        if len(tensor.shape) == 1 and tensor.type.name != "F32":
            metadata.refuse(f"{tensor.type.name} in the vector {tensor.name}, where only F32 is computed with")


def check_tokens(gguf: GgufFile) -> None:
    """The same for the list of tokens; reading it takes a tenth of a second."""
    metadata, model = _Metadata(gguf), gguf.metadata.get("tokenizer.ggml.model")
    tokens = gguf.strings("tokenizer.ggml.tokens")
    if model not in TOKENIZERS:
        metadata.refuse(f"the tokenizer {model!r}; known: {', '.join(TOKENIZERS)}")
    if len(set(tokens)) < len(tokens):
        twice = Counter(tokens).most_common(1)[0][0]
        metadata.refuse(f"the token {twice.decode('utf-8', 'replace')!r} twice")
    if model in BYTE_FALLBACK and (missing := _missing_byte(set(tokens))) is not None:
        metadata.refuse(f"no token for the byte {missing}")
    begins = gguf.metadata.get("tokenizer.ggml.add_bos_token", model in ALWAYS_BEGIN) or model in ALWAYS_BEGIN[1:]
    if begins and not _has_token(gguf, "bos", BEGINS.get(model), len(tokens)):
        metadata.refuse("no token to begin a text with, as it says that each begins")
    ends = gguf.metadata.get("tokenizer.ggml.add_eos_token", model == "t5")
    if ends and not _has_token(gguf, "eos", ENDS.get(model), len(tokens)):
        metadata.refuse("no token to end a text with, as it says that each ends")


def _has_token(gguf: GgufFile, role: str, default: int | None, count: int) -> bool:
    named = gguf.metadata.get(f"tokenizer.ggml.{role}_token_id")
    return any(isinstance(token, int) and 0 <= token < count for token in (named, default))


def _missing_byte(tokens: set[bytes]) -> int | None:
    return next((b for b in range(256) if b"<0x%02X>" % b not in tokens and bytes([b]) not in tokens), None)


class _Metadata:
    """The file's metadata; `[key]` is a value of its architecture, the architecture's name left out of the key."""

    def __init__(self, gguf: GgufFile):
        self._values, self._name = gguf.metadata, gguf.path.name
        self.architecture = self._values.get("general.architecture", "?")

    def __getitem__(self, key: str) -> Any:
        return self._values.get(f"{self.architecture}.{key}")

    def of_architecture(self) -> list[tuple[str, Any]]:
        """The full keys that begin with the architecture's name, and their values."""
        return [pair for pair in self._values.items() if pair[0].startswith(f"{self.architecture}.")]

    @overload
    def integer(self, key: str, least: int, most: int, default: int) -> int: ...

    @overload
    def integer(self, key: str, least: int, most: int, default: int | None = None) -> int | None: ...

    def integer(self, key: str, least: int, most: int, default: int | None = None) -> int | None:
        """An integer in a range, the default where it is missing. An array has one for each layer: its first one."""
        value = self[key]
        for number in value if isinstance(value, list) else [value]:
            if number is not None and (type(number) is not int or not least <= number <= most):
                self.refuse(f"{self.architecture}.{key} = {number!r}; llama.cpp knows {least} to {most}")
        if isinstance(value, list):
            value = value[0] if value else None
        return default if value is None else value

    def refuse(self, what: str) -> NoReturn:
        """Raise DamagedDataError that names the file."""
        raise DamagedDataError(f"{self._name} has {what}; fetch or convert the model again")


def _check_sizes(metadata: _Metadata) -> None:
    layers = metadata.integer("block_count", 1, MOST_LAYERS, 1)
    metadata.integer("nextn_predict_layers", 0, layers)
    for key in ("context_length", "embedding_length", "feed_forward_length"):
        metadata.integer(key, 1, MOST)
    metadata.integer("vocab_size", 1, MOST_TOKENS)
    hidden = metadata["embedding_length"]
    if metadata["embedding_length_out"] not in (None, hidden):
        metadata.refuse(f"embeddings of {metadata['embedding_length_out']!r} values for a width of {hidden}")


def _check_attention(metadata: _Metadata) -> None:
    hidden = metadata.integer("embedding_length", 1, MOST, 1)
    heads = metadata.integer("attention.head_count", 0, MOST)
    kv_heads = metadata.integer("attention.head_count_kv", 0, MOST, heads)
    if heads and kv_heads and heads % kv_heads:
        metadata.refuse(f"{heads} attention heads for {kv_heads} of keys")
    size = hidden // heads if heads else hidden
    key = metadata.integer("attention.key_length", 1, MOST, size)
    value = metadata.integer("attention.value_length", 1, MOST, size)
    rotary = metadata.integer("rope.dimension_count", 0, MOST, key)
    _check_rotary(metadata, heads, key, rotary, "")
    local_key = metadata.integer("attention.key_length_swa", 1, MOST, key)
    _check_rotary(metadata, heads, local_key, metadata.integer("rope.dimension_count_swa", 0, MOST, rotary), "_swa")
    pattern = metadata["attention.sliding_window_pattern"]
    if metadata.architecture == "gemma3" and (pattern == 1 or isinstance(pattern, list) and not any(pattern)):
        metadata.refuse(f"gemma3.attention.sliding_window_pattern = {pattern}, no layer with a window")
    if metadata.architecture in ALIKE_LAYERS:
        if not heads or not 0 < rotary <= key == value or (rotary != key and metadata.architecture in WHOLE_ROTARY):
            metadata.refuse(f"{heads} heads of {key}, {value} and {rotary} values for keys, values and positions")
        for name in ("attention.head_count", "attention.head_count_kv"):
            if isinstance(counts := metadata[name], list) and len(set(counts)) > 1:
                metadata.refuse(f"{metadata.architecture}.{name} = {counts}, layers that differ")


def _check_rotary(metadata: _Metadata, heads: int | None, key: int, rotary: int, kind: str) -> None:
    if heads and (rotary % 2 or rotary > key):
        metadata.refuse(f"{metadata.architecture}.rope.dimension_count{kind} = {rotary} in heads of {key}")


def _check_experts(metadata: _Metadata) -> None:
    experts = metadata.integer("expert_count", 0, MOST_EXPERTS, 0)
    used = metadata.integer("expert_used_count", 0, experts, 0)
    groups = metadata.integer("expert_group_count", 0, max(0, experts - 1), 0)
    if experts and not used and not isinstance(metadata["expert_used_count"], list):
        metadata.refuse(f"{experts} experts, of which none is used")
    if groups > 1 and (experts % groups or not 0 < metadata.integer("expert_group_used_count", 0, MOST, 0) < groups):
        metadata.refuse(f"{experts} experts in {groups} groups")


def _check_rope(metadata: _Metadata) -> None:
    scaling = metadata["rope.scaling.type"]
    if scaling is not None and scaling not in ROPE_SCALINGS:
        metadata.refuse(f"rope.scaling.type = {scaling!r}; llama.cpp knows {', '.join(ROPE_SCALINGS)}")
    for key in ("rope.freq_base", "rope.freq_base_swa"):
        base = metadata[key]
        if base is not None and not (isinstance(base, (int, float)) and math.isfinite(base) and base > 0):
            metadata.refuse(f"{metadata.architecture}.{key} = {base!r}")


def _check_numbers(metadata: _Metadata) -> None:
    """Numbers of the architecture are finite, an epsilon is not negative."""
    for name, value in metadata.of_architecture():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and (not math.isfinite(number) or (name.endswith("epsilon") and number < 0)):
                metadata.refuse(f"{name} = {number!r}")
