"""Where the training graphs lie: a folder for each kind of sublayer, `head` and `int8`."""

from pathlib import Path

from ..formats.sublayers import Kind

GRAPHS = Path(__file__).parent / "graphs"


def sublayer_graph(folder: Path, kind: Kind, *, adapted: bool, int8: bool, backward: bool) -> Path:
    """The file of a sublayer's graph: with adapters or without, products in int8 or float32, forward or backward."""
    parts = "backward" if backward else "forward", "adapted" if adapted else "", "int8" if int8 else ""
    return folder / kind.name / ("_".join(part for part in parts if part) + ".onnx")
