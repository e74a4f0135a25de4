"""The linear layers of a model under GGUF's names and under those of transformers, which PEFT's adapters go by.

A family's names stand in its entry of the registry (families/). llama.cpp's converter permutes the rows of Q and K of
some families, from transformers' rotary halves to neighbouring pairs (llama.cpp, conversion/llama.py,
LlamaModel.permute); an adapter's B has the same rows as the weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

# GGUF tensor of a layer -> module of a layer.
ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
FEED_FORWARD = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


@dataclass(frozen=True)
class ModuleNames:
    """Names of a family: `model_types` of transformers' config.json, where its layers are, and the modules of a layer.

    permutes: GGUF stores the rows of Q and K in another order than transformers.
    """

    model_types: tuple[str, ...]
    permutes: bool = False
    layers: str = "model.layers"
    modules: Mapping[str, str] = field(default_factory=lambda: ATTENTION | FEED_FORWARD)

    def module(self, layer: int, tensor: str) -> str:
        """The name in transformers of a tensor of a layer. KeyError where it has none."""
        return f"{self.layers}.{layer}.{self.modules[tensor]}"


@dataclass(frozen=True)
class Module:
    """A linear layer: its GGUF tensor and size; heads whose rows are permuted in GGUF, 0 = none are."""

    tensor: str  # blk.0.attn_q.weight
    rows: int
    columns: int
    heads: int = 0

    def to_halves(self, b: np.ndarray) -> np.ndarray:
        """Rows of (rows, n) as transformers has them, from GGUF's order."""
        return rows_to_halves(b, self.heads) if self.heads else b

    def to_gguf(self, b: np.ndarray) -> np.ndarray:
        """The inverse of `to_halves`."""
        return rows_to_neighbours(b, self.heads) if self.heads else b


def rows_to_halves(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of Q or K (heads * head width, n) from GGUF's neighbouring pairs to transformers' halves."""
    return array.reshape(heads, -1, 2, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)


def rows_to_neighbours(array: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of rows_to_halves."""
    return array.reshape(heads, 2, -1, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
