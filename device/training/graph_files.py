"""The training graphs of a model's shape: where they are and what they take."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import DamagedDataError, UsageError
from .shape import ATTENTION, FEED_FORWARD, LINEARS, BlockShape

PACKAGED_GRAPHS = Path(__file__).parent / "graphs"
# Folders of block graphs, and the linear layers that may carry an adapter in them, the fewest first.
VARIANTS = {"feed_forward": FEED_FORWARD, "attention": ATTENTION, "all": LINEARS}


@dataclass(frozen=True)
class GraphFiles:
    """A folder of graphs and its shape.json: `vectors` (name: length) are the norms and biases a block takes,
    `saved` (name: width) what its forward pass keeps for the backward pass, `rotary` how rotary pairs sit."""

    folder: Path
    vectors: dict[str, int]
    saved: dict[str, int]
    rotary: str

    def blocks(self, adapted: tuple[str, ...]) -> Path:
        """The folder of the block graphs for adapters on these linear layers, with as few others as there is one."""
        there = [variant for variant in VARIANTS if (self.folder / variant).is_dir()]
        fitting = (variant for variant in there if set(adapted) <= set(VARIANTS[variant]))
        return self.folder / next(fitting, "all")

    @property
    def int8(self) -> bool:
        """Whether there are graphs for products on int8; folders exported by earlier versions have none."""
        return bool([*self.folder.glob("*/block_backward_int8.onnx")])


def find_graphs(shape: BlockShape, folders: list[Path] = ()) -> GraphFiles:
    """The training graphs exported for `shape`; UsageError when there are none."""
    for folder in (*folders, PACKAGED_GRAPHS):
        for path in sorted(Path(folder).glob("**/shape.json")):
            description = _read(path)
            if _same(description, asdict(shape)):
                return GraphFiles(path.parent, *(description[key] for key in ("vectors", "saved", "rotary")))
    raise UsageError(
        f"no training graphs for a {shape.architecture} of {shape.hidden} wide, {shape.heads} heads and "
        f"{shape.feed_forward} feed-forward; make them beside the model with: "
        "idletune-export graphs MODEL.gguf -o training"
    )


def _read(path: Path) -> dict:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if not {"architecture", "rms_eps", "vectors", "saved", "rotary"} <= set(description):
            raise ValueError("incomplete")
        return description
    except (ValueError, TypeError) as error:
        raise DamagedDataError(f"{path} is damaged ({error}); export the graphs again") from None


def _same(found: dict, wanted: dict) -> bool:
    # GGUF stores epsilon as float32, people write it as decimal: compare to float32 precision.
    close = abs(found["rms_eps"] - wanted["rms_eps"]) < 1e-3 * wanted["rms_eps"]
    return close and all(found.get(k) == v for k, v in wanted.items() if k != "rms_eps")
