"""A model as a table of layers: what training needs to know of it, read from its GGUF file.

The families (`families/`) say what the metadata mean. Every tensor of a file has to have a place in the table:
llama.cpp computes with all of them, and without one, training would train another model than is served.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from ..errors import DamagedDataError, UsageError
from .families import FAMILIES, used_kinds
from .families.refused import reason
from .gguf_file import GgufFile
from .metadata import Metadata
from .module_names import Module
from .sublayers import Attention, Layer

OUTSIDE_LAYERS = ("token_embd.weight", "output.weight")
IN_LAYER = re.compile(r"blk\.(\d+)\.(.+)")


@dataclass(frozen=True)
class ModelShape:
    """A decoder-only model. `table` holds its layers; scales and soft cap are those of the family (see Family)."""

    architecture: str
    hidden: int
    vocabulary: int
    table: tuple[Layer, ...]
    epsilon: float  # of the last norm
    embedding_scale: float = 1.0
    logit_scale: float = 1.0
    logit_soft_cap: float = 0.0
    output_norm: str = "output_norm.weight"
    draft_layers: int = 0  # behind the others; nothing is computed with them

    @classmethod
    def of(cls, gguf: GgufFile, context: int = 0) -> "ModelShape":
        """Read the shape; `context` is the number of tokens that the serving engine's KV cache holds (see Metadata).

        UsageError names an architecture, a tensor or a key that training does not know.
        """
        metadata = Metadata(gguf.metadata, gguf.tensors.keys(), gguf.path.name, context)
        shape = cls.from_metadata(metadata, gguf.tensor("token_embd.weight").shape[0])
        shape._refuse_unknown_tensors(gguf)
        shape._refuse_unknown_kinds(gguf.path.name)
        metadata.refuse_unread()
        return shape

    @classmethod
    def from_metadata(cls, metadata: Metadata, vocabulary: int) -> "ModelShape":
        """The shape without a look at the tensors."""
        family = FAMILIES.get(metadata.architecture)
        if family is None:
            refused = f"architecture {metadata.architecture!r} cannot be trained{reason(metadata.architecture)}"
            raise UsageError(f"{refused}; known: {', '.join(FAMILIES)}")
        try:
            draft_layers = int(family.draft_layers(metadata))
            numbers = range(metadata.size("block_count") - draft_layers)
            return cls(
                architecture=family.architecture,
                hidden=metadata.size("embedding_length"),
                vocabulary=vocabulary,
                table=tuple(family.layer(metadata, number) for number in numbers),
                epsilon=metadata.number("attention.layer_norm_rms_epsilon"),
                embedding_scale=family.embedding_scale(metadata),
                logit_scale=family.logit_scale(metadata),
                logit_soft_cap=family.logit_soft_cap(metadata),
                output_norm=family.output_norm,
                draft_layers=draft_layers,
            )
        except KeyError as missing:
            raise DamagedDataError(f"{metadata.name} lacks the metadata {missing}; convert the model again") from None

    @property
    def layers(self) -> int:
        return len(self.table)

    @cached_property
    def kv_widths(self) -> dict[int, int]:
        """The layers whose K and V other layers borrow, and the width of each of the two."""
        mixers = [one for layer in self.table for one in layer.sublayers if isinstance(one, Attention)]
        return {mixer.kv_layer: mixer.kv_heads * mixer.head_dim for mixer in mixers if mixer.kv_layer >= 0}

    @property
    def first_trainable(self) -> int:
        """The first layer that can carry an adapter: no gradient goes to K and V that another layer borrows."""
        return max(self.kv_widths, default=-1) + 1

    @property
    def state_width(self) -> int:
        """Values of a token that enter a layer from `first_trainable` on: its hidden state, and borrowed K and V."""
        return self.hidden + 2 * sum(self.kv_widths.values())

    def linear_shapes(self, layer: int) -> dict[str, tuple[int, int]]:
        """(rows, columns) of each linear layer of a layer, by name."""
        return {name: linear.shape for name, linear in self.table[layer].linears.items()}

    def modules(self) -> dict[str, Module]:
        """The linear layers of all layers by their names in transformers; those that have none there are left out."""
        names, found = FAMILIES[self.architecture].names, {}
        for number, layer in enumerate(self.table):
            heads = _heads(layer) if names.permutes else {}
            for tensor, (rows, columns) in layer.matrices.items():
                short = tensor.removesuffix(".weight")
                if short in names.modules:
                    module = Module(f"blk.{number}.{tensor}", rows, columns, heads.get(short, 0))
                    found[names.module(number, short)] = module
        return found

    def summary(self) -> dict[str, str | int]:
        """What a bundle's manifest says of its model."""
        return {
            "architecture": self.architecture,
            "hidden": self.hidden,
            "layers": self.layers,
            "vocabulary": self.vocabulary,
        }

    def _refuse_unknown_tensors(self, gguf: GgufFile) -> None:
        unknown = [tensor for tensor in gguf.tensors if not self._is_known(tensor)]
        if unknown:
            raise UsageError(
                f"{gguf.path.name} has {len(unknown)} tensors that training does not know, {unknown[0]} first; "
                "use another model"
            )

    def _is_known(self, tensor: str) -> bool:
        in_layer = IN_LAYER.fullmatch(tensor)
        if not in_layer:
            return tensor in (*OUTSIDE_LAYERS, self.output_norm, *FAMILIES[self.architecture].tensors)
        number = int(in_layer[1])
        if self.layers <= number < self.layers + self.draft_layers:
            return True
        sublayers = self.table[number].sublayers if number < self.layers else ()
        return any(in_layer[2] in one.tensors for one in sublayers)

    def _refuse_unknown_kinds(self, name: str) -> None:
        known = used_kinds()
        for number, layer in enumerate(self.table):
            for sublayer in layer.sublayers:
                if sublayer.kind not in known:
                    raise UsageError(
                        f"layer {number} of {name} is of the kind {sublayer.kind.name}, which has no training graphs; "
                        "use another model"
                    )


def _heads(layer: Layer) -> dict[str, int]:
    """Heads of Q and of K, by their linear layers' names."""
    mixers = [one for one in layer.sublayers if isinstance(one, Attention)]
    return {"attn_q": mixers[0].heads, "attn_k": mixers[0].kv_heads} if mixers else {}
