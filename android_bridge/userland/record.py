"""A training step of the default model on this machine, written down graph by graph: what went in, what came out.

Run: python record.py MODEL.gguf FOLDER [--tokens N]. FOLDER gets the graphs, the arrays (each once, by its hash) and
steps.jsonl, which replay.py reads where there is no numpy.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
from idletune.examples import IGNORE_INDEX, Example
from idletune.formats.gguf_file import GgufFile
from idletune.formats.model_shape import ModelShape
from idletune.onnx_runtime import graph
from idletune.training.layers import Layers
from idletune.training.lora import Lora
from idletune.training.packing import pack
from idletune.training.weights import Weights


class Recorder:
    """Stands in for Graph.run: runs, and writes down."""

    def __init__(self, folder: Path):
        self.folder, self.steps, self.paths = folder, [], {}
        (folder / "arrays").mkdir(parents=True)

    def opened(self, path: Path) -> str:
        name = hashlib.sha256(path.read_bytes()).hexdigest()[:16] + ".onnx"
        shutil.copyfile(path, self.folder / name)
        return name

    def kept(self, array: np.ndarray) -> dict:
        name = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:16]
        if not (path := self.folder / "arrays" / name).exists():
            array.tofile(path)
        return {"type": array.dtype.name, "shape": array.shape, "file": name}


def record(model: Path, folder: Path, tokens: int) -> int:
    """Writes the step; returns how many graphs ran."""
    recorder = Recorder(folder)
    open_session, run = graph.Graph.__init__, graph.Graph.run

    def opened(self, path, threads):
        open_session(self, path, threads)
        self.recorded = recorder.opened(path)

    def ran(self, inputs, outputs):
        before = {name: recorder.kept(inputs[name]) for name in self.inputs}
        run(self, inputs, outputs)
        after = {name: recorder.kept(array) for name, array in outputs.items()}
        recorder.steps.append({"graph": self.recorded, "inputs": before, "outputs": after})

    graph.Graph.__init__, graph.Graph.run = opened, ran
    file = GgufFile(model)
    shape = ModelShape.of(file)
    lora, rng = Lora(shape, "q,k,v,o", 8, 16), np.random.default_rng(0)
    lora.flat[...] = 0.02 * rng.standard_normal(lora.size)
    layers = Layers(Weights(file, shape, threads=1), lora, threads=1, recompute=True)
    ids = rng.integers(0, shape.vocabulary, tokens).astype(np.int32)
    row = pack([Example(ids, np.where(np.arange(tokens) < tokens // 2, IGNORE_INDEX, ids).astype(np.int32))])
    layers.gradients(row, np.zeros(lora.size, np.float32), 1.0)
    (folder / "steps.jsonl").write_text("".join(json.dumps(step) + "\n" for step in recorder.steps))
    return len(recorder.steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=24)
    given = parser.parse_args()
    print(f"{record(given.model, given.folder, given.tokens)} runs of graphs written to {given.folder}")
