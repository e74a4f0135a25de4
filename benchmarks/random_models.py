"""GGUF files of the shapes of known models, with random weights: they show speed and memory, and nothing else.

A model is described by the metadata of its real file; the registry's own table of its layers says which tensors it has.
Norms are 1. Matrices are Q4_0 blocks, or of about the types that llama.cpp's Q4_K_M has. The tokenizer has the letters
of ASCII, and tokens that no text gives.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from idletune.formats.metadata import Metadata
from idletune.formats.model_shape import ModelShape
from idletune.formats.sublayers import Layer

BLOCKS = {
    Type.Q8_0: (32, 34),
    Type.Q4_0: (32, 18),
    Type.Q4_K: (256, 144),
    Type.Q6_K: (256, 210),
}  # weights, bytes (ggml-common.h)
WEIGHT_SPREAD = 0.02
CONTEXT = 8192  # tokens, where a model's metadata below say nothing else
ROWS = 4096  # of random blocks; a larger matrix repeats them
LFM2_KV_HEADS = [8 if layer in (2, 5, 8, 10, 12, 14) else 0 for layer in range(16)]
GEMMA4_LOCAL = [layer % 5 != 4 for layer in range(35)]


class Kernel(NamedTuple):
    """The size of a depthwise convolution's kernel."""

    channels: int
    taps: int


# Architecture, metadata behind its name, the vocabulary, and tensors that the table of layers does not name.
MODELS = {
    "Llama 3.2 1B": (
        "llama",
        dict(
            {"attention.head_count": 32, "attention.head_count_kv": 8, "attention.layer_norm_rms_epsilon": 1e-5},
            embedding_length=2048,
            block_count=16,
            feed_forward_length=8192,
            **{"rope.freq_base": 5e5, "rope.dimension_count": 64},
        ),
        128256,
        {"rope_freqs.weight": 32},
    ),
    "Qwen3 0.6B": (
        "qwen3",
        dict(
            {"attention.head_count": 16, "attention.head_count_kv": 8, "attention.layer_norm_rms_epsilon": 1e-6},
            embedding_length=1024,
            block_count=28,
            feed_forward_length=3072,
            **{"attention.key_length": 128, "attention.value_length": 128, "rope.freq_base": 1e6},
        ),
        151936,
        {},
    ),
    "Gemma 3 1B": (
        "gemma3",
        dict(
            {"attention.head_count": 4, "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-6},
            embedding_length=1152,
            block_count=26,
            feed_forward_length=6912,
            **{"attention.key_length": 256, "attention.value_length": 256, "rope.freq_base": 1e6},
            **{"attention.sliding_window": 512},
        ),
        262144,
        {},
    ),
    "SmolLM3 3B": (
        "smollm3",
        dict(
            {"attention.head_count": 16, "attention.head_count_kv": 4, "attention.layer_norm_rms_epsilon": 1e-6},
            embedding_length=2048,
            block_count=36,
            feed_forward_length=11008,
            **{"rope.freq_base": 5e6, "rope.dimension_count": 128},
        ),
        128256,
        {},
    ),
    "Phi-4-mini": (
        "phi3",
        dict(
            {"attention.head_count": 24, "attention.head_count_kv": 8, "attention.layer_norm_rms_epsilon": 1e-5},
            embedding_length=3072,
            block_count=32,
            feed_forward_length=8192,
            context_length=131072,
            **{"rope.freq_base": 1e4, "rope.dimension_count": 96, "rope.scaling.original_context_length": 4096},
            **{"rope.scaling.attn_factor": 1.190238, "attention.sliding_window": 262144},
        ),
        200064,
        {"rope_factors_long.weight": 48, "rope_factors_short.weight": 48},
    ),
    "LFM2.5 1.2B": (
        "lfm2",
        dict(
            {"attention.head_count": 32, "attention.head_count_kv": LFM2_KV_HEADS, "shortconv.l_cache": 3},
            embedding_length=2048,
            block_count=16,
            feed_forward_length=8192,
            vocab_size=65536,
            **{"rope.freq_base": 1e6, "attention.layer_norm_rms_epsilon": 1e-5},
        ),
        65536,
        {},
    ),
    "Gemma 4 E2B": (
        "gemma4",
        dict(
            {"attention.head_count": 8, "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-6},
            embedding_length=1536,
            block_count=35,
            feed_forward_length=[6144] * 15 + [12288] * 20,
            embedding_length_per_layer_input=256,
            final_logit_softcapping=30.0,
            **{"attention.key_length": 512, "attention.value_length": 512, "attention.key_length_swa": 256},
            **{"attention.value_length_swa": 256, "attention.sliding_window": 512, "attention.shared_kv_layers": 20},
            **{"attention.sliding_window_pattern": GEMMA4_LOCAL, "rope.freq_base": 1e6, "rope.freq_base_swa": 1e4},
            **{"rope.dimension_count": 512, "rope.dimension_count_swa": 256},
        ),
        262144,
        {
            "rope_freqs.weight": 256,
            "per_layer_token_embd.weight": (262144, 35 * 256),
            "per_layer_model_proj.weight": (35 * 256, 1536),
            "per_layer_proj_norm.weight": 256,
        },
    ),
    "Qwen3.5 0.8B": (
        "qwen35",
        dict(
            {"attention.head_count": 8, "attention.head_count_kv": 2, "attention.layer_norm_rms_epsilon": 1e-6},
            embedding_length=1024,
            block_count=24,
            feed_forward_length=3584,
            full_attention_interval=4,
            **{"attention.key_length": 256, "attention.value_length": 256, "rope.freq_base": 1e7},
            **{"rope.dimension_count": 64, "rope.dimension_sections": [11, 11, 10, 0], "ssm.conv_kernel": 4},
            **{"ssm.state_size": 128, "ssm.group_count": 16, "ssm.time_step_rank": 16, "ssm.inner_size": 2048},
        ),
        248320,
        {},
    ),
    "Qwen3 1.7B": (
        "qwen3",
        dict(
            {"attention.head_count": 16, "attention.head_count_kv": 8, "attention.layer_norm_rms_epsilon": 1e-6},
            embedding_length=2048,
            block_count=28,
            feed_forward_length=6144,
            **{"attention.key_length": 128, "attention.value_length": 128, "rope.freq_base": 1e6},
        ),
        151936,
        {},
    ),
    "Llama 3.2 3B": (
        "llama",
        dict(
            {"attention.head_count": 24, "attention.head_count_kv": 8, "attention.layer_norm_rms_epsilon": 1e-5},
            embedding_length=3072,
            block_count=28,
            feed_forward_length=8192,
            **{"rope.freq_base": 5e5, "rope.dimension_count": 128},
        ),
        128256,
        {"rope_freqs.weight": 64},
    ),
}
FUSED = {"phi3": ("attn_qkv.weight", "ffn_up.weight")}
Choice = Callable[[str, int], Type]  # of a matrix's blocks, by its tensor and its layer


def q4_0(tensor: str, layer: int) -> Type:
    return Type.Q4_0


def q8_0(tensor: str, layer: int) -> Type:
    return Type.Q8_0


def q4_k_m(tensor: str, layer: int) -> Type:
    """Q6_K for the embeddings and half of V and down."""
    finer = tensor == "token_embd.weight" or (layer % 2 == 0 and tensor in ("attn_v.weight", "ffn_down.weight"))
    return Type.Q6_K if finer else Type.Q4_K


def shape_of(name: str) -> tuple[dict, ModelShape]:
    """The model's metadata and its table of layers."""
    architecture, values, vocabulary, further = MODELS[name]
    values = {"context_length": CONTEXT, **values}
    named = {f"{architecture}.{key}": value for key, value in values.items()} | {"general.architecture": architecture}
    fused = {f"blk.{n}.{tensor}" for n in range(values["block_count"]) for tensor in FUSED.get(architecture, ())}
    return named, ModelShape.from_metadata(Metadata(named, fused | set(further)), vocabulary)


def write_model(path: Path, name: str, choose: Choice = q4_0) -> Path:
    """The model as a GGUF file."""
    (named, shape), rng = shape_of(name), np.random.default_rng(0)
    _, _, vocabulary, further = MODELS[name]
    writer = gguf.GGUFWriter(path, named.pop("general.architecture"))
    _add_metadata(writer, named)
    _add_tokenizer(writer, vocabulary)
    outside = {"token_embd.weight": (vocabulary, shape.hidden), shape.output_norm: shape.hidden} | further
    for tensor, size in outside.items():
        _add(writer, tensor, size, choose(tensor, 0), rng)
    for number, layer in enumerate(shape.table):
        for tensor, size in (layer.matrices | _vectors(layer)).items():
            _add(writer, f"blk.{number}.{tensor}", size, choose(tensor, number), rng)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_metadata(writer: gguf.GGUFWriter, named: dict) -> None:
    for key, value in named.items():
        add = {int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}[type(value)]
        add(key, value)


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    """Byte-level BPE of ASCII, filled up to the size of the vocabulary; its last token ends a text."""
    letters = [*map(chr, range(33, 127)), "\u0120"]  # the last one is the space
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*letters, *(f"<unused{number}>" for number in range(vocabulary - len(letters)))])
    writer.add_token_merges(["t h"])  # llama.cpp wants one
    writer.add_eos_token_id(vocabulary - 1)


def _vectors(layer: Layer) -> dict[str, int | Kernel]:
    """Sizes of the tensors that are no matrices."""
    found: dict[str, int | Kernel] = {}
    for sublayer in layer.sublayers:
        for vector in sublayer.vectors.values():
            found[vector.tensor] = Kernel(*vector.shape) if vector.taps else vector.size
    return found


def _add(writer: gguf.GGUFWriter, name: str, size: int | Kernel | tuple[int, int], kind: Type, rng) -> None:
    """Vectors and kernels sum to as much as a norm of ones; a decay is negative."""
    if isinstance(size, Kernel):
        writer.add_tensor(name, np.full(size, 1 / size.taps, np.float32))
    elif isinstance(size, int):
        writer.add_tensor(name, np.full(size, -1 if name.endswith("ssm_a") else 1, np.float32))
    else:
        writer.add_tensor(name, _blocks(*size, kind, rng), raw_dtype=kind)


def _blocks(rows: int, columns: int, kind: Type, rng) -> np.ndarray:
    """Random blocks with scales that give weights of about WEIGHT_SPREAD around zero: uint8 (rows, bytes)."""
    weights, size = BLOCKS[kind]
    blocks = rng.integers(0, 256, (min(rows, ROWS), columns // weights, size), np.uint8)
    if kind in (Type.Q8_0, Type.Q4_0):  # d, weights of 8 or 4 bits
        largest = 128 if kind == Type.Q8_0 else 8
        blocks[..., :2] = np.array([WEIGHT_SPREAD / largest], np.float16).view(np.uint8)
    elif kind == Type.Q4_K:  # d, dmin, 8 scales and minima of 6 bits, 4-bit weights
        d = np.float16(WEIGHT_SPREAD / 180)
        blocks[..., :4] = np.array([d, d * np.float16(7.5)], np.float16).view(np.uint8)
    else:  # 6-bit weights, 16 int8 scales, d
        blocks[..., 192:208] = rng.integers(-16, 17, (*blocks.shape[:2], 16), np.int8).view(np.uint8)
        blocks[..., 208:] = np.array([WEIGHT_SPREAD / 180], np.float16).view(np.uint8)
    return np.resize(blocks.reshape(len(blocks), -1), (rows, columns // weights * size))
