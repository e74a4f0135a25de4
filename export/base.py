"""The linear layers of a base model's blocks, by the names of Hugging Face and of GGUF."""

from pathlib import Path

import gguf
from idletune.model.gguf_file import GgufFile

from .hugging_face_folder import load_config, read_config
from .layout import Architecture, by_model_type


class Base:
    """What an adapter's conversion needs of its base model: a GGUF file or a Hugging Face folder."""

    def __init__(self, path: Path):
        if path.is_dir():
            self.config = load_config(path)
            self.architecture: Architecture = by_model_type(self.config.model_type)
        else:
            GgufFile(path)
            self.config, self.architecture = read_config(gguf.GGUFReader(path))

    def shapes(self) -> dict[str, tuple[int, int]]:
        """(rows, columns) of every linear layer of the blocks."""
        c, shapes = self.config, {}
        head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        q, kv = c.num_attention_heads * head_dim, c.num_key_value_heads * head_dim
        h, f = c.hidden_size, c.intermediate_size
        for layer in range(c.num_hidden_layers):
            for name, shape in (("q", (q, h)), ("k", (kv, h)), ("v", (kv, h)), ("o", (h, q))):
                shapes[f"model.layers.{layer}.self_attn.{name}_proj"] = shape
            for name, shape in (("gate", (f, h)), ("up", (f, h)), ("down", (h, f))):
                shapes[f"model.layers.{layer}.mlp.{name}_proj"] = shape
        return shapes

    def gguf_names(self) -> dict[str, str]:
        """Module name -> GGUF tensor name."""
        names = self.architecture.names(self.config.num_hidden_layers)
        return {module: names.get_name(f"{module}.weight", (".weight",)) for module in self.shapes()}
