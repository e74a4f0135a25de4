"""What training needs to know of a model, read from its GGUF metadata, and where its graphs are."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import DamagedDataError, UsageError
from ..gguf_file import GgufFile

PACKAGED_GRAPHS = Path(__file__).parent / "graphs"
ARCHITECTURES = ("llama",)
LINEARS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NORMS = ("attn_norm", "ffn_norm")
# The short names people know from PEFT, and GGUF's own.
TARGETS = dict(zip(("q", "k", "v", "o", "gate", "up", "down"), LINEARS))
GRAPH_FIELDS = ("architecture", "hidden", "feed_forward", "heads", "kv_heads", "head_dim", "rms_eps")


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder-only model; `rms_eps` and `rope_base` as the file gives them."""

    architecture: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    rms_eps: float
    rope_base: float
    vocabulary: int

    @classmethod
    def of(cls, gguf: GgufFile) -> "ModelShape":
        """Read the shape; UsageError names an architecture or feature that training does not know."""
        meta = gguf.metadata
        name = meta.get("general.architecture", "?")
        if name not in ARCHITECTURES:
            raise UsageError(f"architecture {name!r} cannot be trained; known: {', '.join(ARCHITECTURES)}")
        for feature in ("rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate_inp.weight"):
            if feature in gguf.tensors:
                raise UsageError(f"{gguf.path.name} has {feature}, which training does not know; use another model")
        if meta.get(f"{name}.rope.scaling.type", "none") != "none":
            raise UsageError(f"{gguf.path.name} uses rope scaling, which training does not know; use another model")
        try:
            heads, hidden = meta[f"{name}.attention.head_count"], meta[f"{name}.embedding_length"]
            return cls(
                name, meta[f"{name}.block_count"], hidden, meta[f"{name}.feed_forward_length"],
                heads, meta.get(f"{name}.attention.head_count_kv", heads),
                meta.get(f"{name}.attention.key_length", hidden // heads),
                meta[f"{name}.attention.layer_norm_rms_epsilon"],
                meta.get(f"{name}.rope.freq_base", 10000.0), gguf.tensor("token_embd.weight").shape[0],
            )
        except KeyError as missing:
            raise DamagedDataError(f"{gguf.path.name} lacks the metadata {missing}; convert the model again") from None

    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """(rows, columns) of each linear weight, by GGUF name."""
        q, kv, h, f = self.heads * self.head_dim, self.kv_heads * self.head_dim, self.hidden, self.feed_forward
        return dict(zip(LINEARS, ((q, h), (kv, h), (kv, h), (h, q), (f, h), (f, h), (h, f))))

    def saved_widths(self) -> dict[str, int]:
        """Values per token that the forward graph saves for the backward graph, by output name."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return dict(q=q, k=kv, v=kv, o=q, middle=self.hidden, gate=self.feed_forward, up=self.feed_forward)


def find_graphs(shape: ModelShape, folders: list[Path] = ()) -> Path:
    """The folder of training graphs exported for `shape`; UsageError when there is none."""
    wanted = {field: asdict(shape)[field] for field in GRAPH_FIELDS}
    for folder in (*folders, PACKAGED_GRAPHS):
        for description in sorted(Path(folder).glob("**/shape.json")):
            if _same(json.loads(description.read_text()), wanted):
                return description.parent
    raise UsageError(
        f"no training graphs for a {shape.architecture} of {shape.hidden} wide, {shape.heads} heads and "
        f"{shape.feed_forward} feed-forward; make them with: idletune-export graphs MODEL.gguf"
    )


def _same(found: dict, wanted: dict) -> bool:
    # GGUF stores epsilon as float32, people write it as decimal: compare to float32 precision.
    close = abs(found.get("rms_eps", 0) - wanted["rms_eps"]) < 1e-3 * wanted["rms_eps"]
    return close and all(found.get(k) == v for k, v in wanted.items() if k != "rms_eps")
