"""`idletune-export verify`: what a bundle's models lost on the way, and how fast they are here.

Every model reads the same text as the original: perplexity, the largest and the relative difference of the
logits, tokens a second read and written, and the same once more with an adapter.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from idletune.errors import UsageError
from idletune.model.base_model import BaseModel
from idletune.model.bundle import BASE, MANIFEST, check_bundle
from idletune.model.onnx_engine import MODEL
from idletune.progress import Bars, no_bars

from .adapter_files import convert_adapter
from .hugging_face_folder import write_hugging_face_folder
from .parity import Parity, compare, first_tokens, paragraphs
from .reference import Reference

ORIGINAL = "original"
BACKEND_OF = {".gguf": "llama.cpp", ".onnx": "onnx"}
WRITTEN = 32  # tokens written to measure the speed


@dataclass
class Line:
    """One model of the table; `adapted` is None without an adapter."""

    name: str
    bytes: int
    plain: Parity
    adapted: Parity | None
    written_per_second: float


def verify_bundle(folder: Path, original: Path | None, adapter: Path | None, bars: Bars = no_bars) -> list[Line]:
    """Measure every model in `folder` against `original` (default: base.gguf, dequantized).

    Raises UsageError when there is no model, DamagedDataError when the manifest does not hold.
    """
    models = find_models(folder)
    if (folder / MANIFEST).is_file():
        check_bundle(folder / BASE)
    with tempfile.TemporaryDirectory(prefix="idletune-") as scratch:
        source = original or (folder / BASE if (folder / BASE).is_file() else next(iter(models.values())))
        room = Path(scratch)
        truth = source if source.is_dir() else write_hugging_face_folder(source, room / "original", bars=bars)
        adapters = _adapters(adapter, truth, room) if adapter else None
        return _measure(models, Reference(truth), truth, adapters, bars)


def find_models(folder: Path) -> dict[str, Path]:
    """Name -> file of the folder's GGUF and ONNX models."""
    found = [*sorted(folder.glob("*.gguf")), *sorted(folder.glob(f"*/{MODEL}"))]
    if not found:
        raise UsageError(f"no .gguf and no {MODEL} in {folder}; give a bundle, idletune-export bundle makes one")
    return {path.relative_to(folder).as_posix(): path for path in found}


def report(lines: list[Line]) -> str:
    """The table a person reads."""
    adapted = any(line.adapted for line in lines)
    heads = ["model", "MB", "perplexity", "change", "max logit", "relative", "read/s", "written/s"]
    heads += ["perplexity+", "max logit+", "relative+"] if adapted else []
    rows = [heads, *(_row(line, lines[0]) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    aligned = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))] for row in rows
    ]
    table = "\n".join(map("  ".join, aligned))
    note = "max logit: largest difference of a logit; relative: all differences against all logits, as vectors"
    return f"{table}\n\n{note}" + ("; + with the adapter" if adapted else "")


def _measure(
    models: dict[str, Path], reference: Reference, truth: Path, adapters: dict[str, Path] | None, bars: Bars
) -> list[Line]:
    opened = {
        name: BaseModel(path, context_tokens=512, sequences=1, backend=BACKEND_OF[path.suffix])
        for name, path in models.items()
    }
    try:
        texts = paragraphs(reference.tokenize, first_tokens(reference))
        everyone: dict[str, Reference | BaseModel] = {ORIGINAL: reference, **opened}
        plain = compare({name: model.logits for name, model in everyone.items()}, texts, bars)
        speeds = {name: _written_per_second(model, texts[0]) for name, model in everyone.items()}
        adapted: Mapping[str, Parity | None] = dict.fromkeys(everyone)
        if adapters:
            for model in everyone.values():
                model.load_adapter(adapters["peft" if model is reference else "gguf"])
            adapted = compare({name: model.logits for name, model in everyone.items()}, texts, bars)
    finally:
        for model in opened.values():
            model.close()
    sizes = {ORIGINAL: sum(p.stat().st_size for p in truth.glob("*.safetensors"))}
    sizes |= {name: sum(p.stat().st_size for p in path.parent.glob(path.name + "*")) for name, path in models.items()}
    return [Line(name, sizes[name], plain[name], adapted[name], speeds[name]) for name in everyone]


def _adapters(adapter: Path, truth: Path, room: Path) -> dict[str, Path]:
    """The adapter as PEFT and as GGUF, whatever it came as."""
    made = {"peft": room / "adapter", "gguf": room / "adapter.gguf"}
    for path in made.values():
        convert_adapter(adapter, path, truth)
    return made


def _written_per_second(model: Reference | BaseModel, tokens: list[int]) -> float:
    start = time.monotonic()
    if isinstance(model, Reference):
        count = len(model.continue_greedily(tokens[:16], WRITTEN))
    else:
        replies = model.generate([tokens[:16]], max_tokens=WRITTEN, temperature=0.0, top_p=1.0, seeds=[0])
        count = len(replies[0].tokens) + (replies[0].stop == "end")
    return count / (time.monotonic() - start)


def _row(line: Line, original: Line) -> list[str]:
    plain = line.plain
    change = plain.perplexity / original.plain.perplexity - 1
    row = [
        line.name,
        f"{line.bytes / 1e6:.1f}",
        f"{plain.perplexity:.3f}",
        f"{change:+.2%}",
        f"{plain.largest_difference:.4f}",
        f"{plain.relative_difference:.5f}",
        f"{plain.tokens_per_second:.0f}",
        f"{line.written_per_second:.0f}",
    ]
    if line.adapted:
        row += [
            f"{line.adapted.perplexity:.3f}",
            f"{line.adapted.largest_difference:.4f}",
            f"{line.adapted.relative_difference:.5f}",
        ]
    return row
