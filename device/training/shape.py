"""What training needs to know of a model, read from its GGUF metadata."""

import math
import re
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

from ..errors import DamagedDataError, UsageError
from ..model.gguf_file import GgufFile

ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
FEED_FORWARD = ("ffn_gate", "ffn_up", "ffn_down")
LINEARS = (*ATTENTION, *FEED_FORWARD)
# The short names people know from PEFT, and GGUF's own.
TARGETS = dict(zip(("q", "k", "v", "o", "gate", "up", "down"), LINEARS))
# Norms and biases of a block, by architecture.
VECTORS = {
    "llama": ("attn_norm", "ffn_norm"),
    "qwen2": ("attn_norm", *(f"{name}.bias" for name in ATTENTION[:3]), "ffn_norm"),
    "qwen3": ("attn_norm", "attn_q_norm", "attn_k_norm", "ffn_norm"),
    "gemma3": ("attn_norm", "attn_q_norm", "attn_k_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
}
OUTSIDE_BLOCKS = ("token_embd.weight", "output_norm.weight", "output.weight")
GEMMA3_GLOBAL_EVERY, GEMMA3_LOCAL_ROPE_BASE = 6, 10000.0  # fixed for the architecture, not in its metadata


class Attention(NamedTuple):
    """How a layer's attention sees positions: its rotary base, and how far back it looks (0 = everything)."""

    rope_base: float
    window: int


@dataclass(frozen=True)
class BlockShape:
    """Sizes that one pair of block graphs is made for; layers, vocabulary and rank are free."""

    architecture: str
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    rms_eps: float

    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """(rows, columns) of each linear weight, by GGUF name."""
        q, kv, h, f = self.heads * self.head_dim, self.kv_heads * self.head_dim, self.hidden, self.feed_forward
        return dict(zip(LINEARS, ((q, h), (kv, h), (kv, h), (h, q), (f, h), (f, h), (h, f))))


@dataclass(frozen=True)
class ModelShape(BlockShape):
    """A decoder-only model: its block's sizes, its number of layers and words, and how positions enter."""

    layers: int
    vocabulary: int
    rope_base: float
    embedding_scale: float = 1.0
    window: int = 0  # of local layers, in tokens
    global_every: int = 0  # every n-th layer is global, the others local; 0 = all global
    local_rope_base: float = 0.0

    @classmethod
    def of(cls, gguf: GgufFile) -> "ModelShape":
        """Read the shape; UsageError names an architecture or feature that training does not know."""
        name = _known_architecture(gguf)
        try:
            return cls(
                **asdict(_block(gguf, name)), **_positions(gguf, name),
                layers=_size(gguf, f"{name}.block_count"), vocabulary=gguf.tensor("token_embd.weight").shape[0],
            )
        except KeyError as missing:
            raise DamagedDataError(f"{gguf.path.name} lacks the metadata {missing}; convert the model again") from None

    @property
    def block(self) -> BlockShape:
        """What the training graphs depend on."""
        return BlockShape(**{field.name: getattr(self, field.name) for field in fields(BlockShape)})

    def attention(self, layer: int) -> Attention:
        if self.global_every and (layer + 1) % self.global_every:
            return Attention(self.local_rope_base, self.window)
        return Attention(self.rope_base, 0)


def _known_architecture(gguf: GgufFile) -> str:
    name = gguf.metadata.get("general.architecture", "?")
    if name not in VECTORS:
        raise UsageError(f"architecture {name!r} cannot be trained; known: {', '.join(VECTORS)}")
    # llama.cpp computes with every tensor of a file: passing one by would train another model than it serves.
    unknown = [tensor for tensor in gguf.tensors if not _is_known(tensor, name)]
    if unknown:
        raise UsageError(
            f"{gguf.path.name} has {len(unknown)} tensors that training does not know, {unknown[0]} first; "
            "use another model"
        )
    if gguf.metadata.get(f"{name}.rope.scaling.type", "none") != "none":
        raise UsageError(f"{gguf.path.name} uses rope scaling, which training does not know; use another model")
    return name


def _is_known(tensor: str, architecture: str) -> bool:
    in_block = re.fullmatch(r"blk\.\d+\.(.+)", tensor)
    if not in_block:
        return tensor in OUTSIDE_BLOCKS
    return in_block[1].removesuffix(".weight") in (*LINEARS, *VECTORS[architecture])


def _block(gguf: GgufFile, name: str) -> BlockShape:
    heads, hidden = _size(gguf, f"{name}.attention.head_count"), _size(gguf, f"{name}.embedding_length")
    return BlockShape(
        name, hidden, _size(gguf, f"{name}.feed_forward_length"), heads,
        _size(gguf, f"{name}.attention.head_count_kv", heads),
        _size(gguf, f"{name}.attention.key_length", hidden // heads),
        gguf.metadata[f"{name}.attention.layer_norm_rms_epsilon"],
    )


def _positions(gguf: GgufFile, name: str) -> dict:
    """Rotary bases, windows and the scale of the embeddings, with llama.cpp's defaults."""
    meta = gguf.metadata
    if name != "gemma3":
        return dict(rope_base=meta.get(f"{name}.rope.freq_base", 10000.0))
    return dict(
        rope_base=meta.get("gemma3.rope.freq_base", 1e6), window=_size(gguf, "gemma3.attention.sliding_window"),
        local_rope_base=meta.get("gemma3.rope.freq_base_swa", GEMMA3_LOCAL_ROPE_BASE),
        global_every=GEMMA3_GLOBAL_EVERY, embedding_scale=math.sqrt(meta["gemma3.embedding_length"]),
    )


def _size(gguf: GgufFile, key: str, default: int | None = None) -> int:
    """A size from the metadata; DamagedDataError where it is none, KeyError where it is missing without a default."""
    size = gguf.metadata[key] if default is None else gguf.metadata.get(key, default)
    if not isinstance(size, int) or size < 1:
        raise DamagedDataError(f"{gguf.path.name} has the size {size!r} as {key}; convert the model again")
    return size
