"""One file per architecture, by its GGUF name."""

from .block import Block, Rows
from .gemma3 import Gemma3
from .llama import Llama
from .qwen2 import Qwen2
from .qwen3 import Qwen3

ARCHITECTURES = {"llama": Llama, "qwen2": Qwen2, "qwen3": Qwen3, "gemma3": Gemma3}

__all__ = ["ARCHITECTURES", "Block", "Rows"]
