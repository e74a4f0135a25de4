"""The linear layers of a base model's blocks, by the names of transformers and of GGUF."""

import re
from pathlib import Path

from idletune.errors import DamagedDataError, UsageError
from idletune.formats.families import FAMILIES
from idletune.formats.families.family import Family
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.formats.module_names import Module

from .hugging_face_folder import read_json, tensor_sizes
from .sources import one_file

IN_LANGUAGE_MODEL = re.compile(r"(?:model\.|language_model\.)+layers\.")  # a part of a model that sees or hears
WEIGHT = re.compile(r"(.+)\.(\d{1,6})\.(.+)\.weight")


class Base:
    """What an adapter's conversion needs of its base model: a GGUF file or a Hugging Face folder.

    `architecture` is GGUF's name, `modules` are the linear layers by their names in transformers' text model.
    UsageError for a model of no known family.
    """

    def __init__(self, path: Path):
        if path.is_dir():
            self.architecture, self.modules = _of_folder(path)
        else:
            shape = ModelShape.of(GgufFile(one_file(path)))
            self.architecture, self.modules = shape.architecture, shape.modules()

    def shapes(self) -> dict[str, tuple[int, int]]:
        """(rows, columns) of every linear layer of the blocks."""
        return {name: (module.rows, module.columns) for name, module in self.modules.items()}

    def gguf_names(self) -> dict[str, str]:
        """Module name -> GGUF tensor name."""
        return {name: module.tensor for name, module in self.modules.items()}


def in_text_model(name: str) -> str:
    """A module's name in the text model alone, where it is one of a model that sees or hears too."""
    return IN_LANGUAGE_MODEL.sub("model.layers.", name, count=1)


def _of_folder(folder: Path) -> tuple[str, dict[str, Module]]:
    config = read_json(folder / "config.json")
    if isinstance(text := config.get("text_config"), dict):
        config = text
    family = _family(config.get("model_type"))
    names = {module: tensor for tensor, module in family.names.modules.items()}
    heads = _heads(config) if family.names.permutes else {}
    found = {}
    for name, size in tensor_sizes(folder).items():
        match = WEIGHT.fullmatch(in_text_model(name))
        if match and len(size) == 2 and match[1] == family.names.layers and match[3] in names:
            (rows, columns), tensor = size, names[match[3]]
            module = Module(f"blk.{match[2]}.{tensor}.weight", rows, columns, heads.get(tensor, 0))
            found[family.names.module(int(match[2]), tensor)] = module
    return family.architecture, found


def _family(model_type) -> Family:
    for family in FAMILIES.values():
        if model_type in family.names.model_types:
            return family
    known = ", ".join(kind for family in FAMILIES.values() for kind in family.names.model_types)
    raise UsageError(f"architecture {model_type!r} is unknown; known: {known}")


def _heads(config: dict) -> dict[str, int]:
    """Heads of Q and of K, by their GGUF names."""
    heads = config.get("num_attention_heads")
    kv_heads = config.get("num_key_value_heads") or heads
    if type(heads) is not int or type(kv_heads) is not int or min(heads, kv_heads) < 1:
        raise DamagedDataError(f"config.json has {heads!r} and {kv_heads!r} attention heads; fetch the model again")
    return {"attn_q": heads, "attn_k": kv_heads}
