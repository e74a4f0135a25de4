"""Training graphs that tests export: half a minute each, so all begin with the session, in a process of their own.

As a program: python exports.py FOLDER. Each export is written beside its place and renamed when it is whole.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

HERE = Path(__file__).parent
FAMILIES = {
    "qwen2": {}, "qwen3": dict(head_dim=24, default="Q4_0", hidden=96),
    "gemma3": dict(head_dim=32, layers=7, kv_heads=1, window=9, default="Q5_0"),
}
SHIPPED = "smollm2-135m"
SECONDS = 600


class Exports:
    """`start` once; then `folder(name)` waits for a family's (tiny.gguf and its graphs) or for the shipped shape's."""

    def __init__(self):
        self.process = None

    def start(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="exports-"))
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.place)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def folder(self, name: str) -> Path:
        until = time.monotonic() + SECONDS
        while not (self.place / name).is_dir():
            ended = self.process.poll() is not None and not (self.place / name).is_dir()
            assert not ended, f"no export of {name}: {self.process.stdout.read()[-3000:]}"
            assert time.monotonic() < until, f"no export of {name} within {SECONDS} seconds"
            time.sleep(0.1)
        return self.place / name

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            shutil.rmtree(self.place, ignore_errors=True)


def export(name: str, folder: Path) -> None:
    from idletune.training.graph_files import PACKAGED_GRAPHS
    from idletune.training.shape import BlockShape
    from idletune_export.training_graphs import export_training_graphs
    from reference import make_graphs
    from tiny_model import write_tiny_model

    folder.mkdir()
    if name in FAMILIES:
        make_graphs(write_tiny_model(folder / "tiny.gguf", architecture=name, **FAMILIES[name]), folder, ["all"])
    else:
        description = json.loads((PACKAGED_GRAPHS / name / "shape.json").read_text())
        shape = BlockShape(**{field.name: description[field.name] for field in fields(BlockShape)})
        export_training_graphs(shape, folder)


def main(place: Path) -> None:
    sys.path[:0] = [str(HERE), str(HERE / "device" / "training")]
    for name in (*FAMILIES, SHIPPED):
        export(name, place / f"{name}.part")
        (place / f"{name}.part").rename(place / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
