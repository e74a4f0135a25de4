"""The README's table of model families, written from the registry (`make docs`)."""

from textwrap import fill

from ..formats.families import FAMILIES
from ..onnx_runtime.dequantizer import PLAIN_TYPES, SCALE_OFFSETS

PROOF = "losses, gradients, resuming, serving, loop"  # tests/families/test_proof.py: of every entry of the registry
LINE = 120  # characters


def families_table() -> str:
    """A row for each family: its name in GGUF, models that people know, block formats, what is proved."""
    rows = [(f"`{name}`", family.models, "all", PROOF) for name, family in FAMILIES.items()]
    head = ("family", "models people know", "block formats", "proved")
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def families_notes() -> str:
    """What the table's words stand for."""
    formats = ", ".join([*sorted(SCALE_OFFSETS, key=lambda name: (not name.startswith("Q"), name)), *PLAIN_TYPES])
    return fill(
        f"All: {formats}, mixed as they come. Proved on a tiny random model of each family: losses equal llama.cpp's, "
        "gradients those of PyTorch, a run resumes to the same bits, llama.cpp serves the adapter with the trainer's "
        "loss, and the whole loop runs once.",
        LINE,
    )
