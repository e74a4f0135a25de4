"""Where a training step's time goes: the kernels of ONNX Runtime's own profile, by what they are for.

Run: make bench-train, or python benchmarks/train_profile.py [--steps N] [--threads N] [--qvac MODEL.gguf]
A single set a row, rank 8 on q, k, v and o of all layers, as beside other trainers (train_speed.py). With --qvac the
row of train_qvac.py instead: 128 tokens, each a label, int8 weights in files. The profiler itself takes time, a few
microseconds a kernel, so shares count more than sums. What no kernel took is Python, starting kernels, and reading
mapped weights. A first step, which prepares the weights, is not counted.
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from common import make_layers, random_examples, write_results
from idletune.examples import labelled_example
from idletune.onnx_runtime import session
from idletune.training.layers import Layers
from idletune.training.packing import PackedSequence, pack
from train_qvac import BUDGET_MB, ROW_TOKENS

ONCE = ("graphs-", "int8-product")  # graphs that prepare the weights, in the first step alone
HEAD = ("head-", "int8-gather", "int8-quantize_tokens")  # what the names of the head's graphs begin with
PRODUCTS = ("MatMul", "FusedMatMul", "Gemm")
TOKENS = (256, 512)


class Profiled(session.ort.InferenceSession):
    """Sessions that write down what each kernel takes; the files go to `folder`."""

    folder = ""
    opened: list["Profiled"] = []

    def __init__(self, source, options, **given):
        options.enable_profiling = True
        options.profile_file_prefix = f"{self.folder}/{Path(source).parent.name}-{Path(source).stem}"
        super().__init__(source, options, **given)
        self.opened.append(self)


def purpose(kernel: str, shapes: list[list[int]], head: bool, rank: int) -> str:
    """What a kernel is for, by its name and the shapes of its inputs."""
    product = kernel in PRODUCTS or kernel.startswith("MatMulInteger")
    if head:
        return "head, products" if product else "head, the rest"
    if not product:
        return "elementwise, quantizing, moving"
    if kernel not in PRODUCTS:
        return "frozen products, int8"
    if any(rank in shape for shape in shapes):
        return "adapter"
    by_head, turned = len(shapes[0]) == 4, shapes[1][0] == shapes[1][-1] == shapes[0][-1]
    return "attention, products" if by_head or turned else "frozen products, float32"


def profile(layers: Layers, row: PackedSequence, steps: int) -> dict:
    """Milliseconds a step, and of them by purpose."""
    gradient = np.zeros(layers.lora.size, np.float32)
    layers.gradients(row, gradient, 1e-3)
    start, began = time.perf_counter(), time.time()
    for _ in range(steps):
        layers.gradients(row, gradient, 1e-3)
    wall = 1e3 * (time.perf_counter() - start) / steps
    took = defaultdict(float)
    for opened in Profiled.opened:
        path, first = opened.end_profiling(), 1e6 * began - opened.get_profiling_start_time_ns() / 1e3
        name = Path(path).name
        if name.startswith(ONCE):
            continue
        head = name.startswith(HEAD)
        for event in json.loads(Path(path).read_text()):
            if event.get("cat") == "Node" and event["name"].endswith("kernel_time") and event["ts"] > first:
                shapes = [list(shape.values())[0] for shape in event["args"]["input_type_shape"]]
                took[purpose(event["args"]["op_name"], shapes, head, layers.lora.rank)] += event["dur"] / 1e3 / steps
    Profiled.opened.clear()
    took["outside of kernels"] = wall - sum(took.values())
    parts = dict(sorted(took.items(), key=lambda part: -part[1]))
    return {"wall_ms": round(wall, 1), "parts_ms": {k: round(v, 1) for k, v in parts.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    parser.add_argument("--qvac", type=Path, metavar="MODEL.gguf", help="the row of train_qvac.py, in place of others")
    arguments = parser.parse_args()
    session.ort.InferenceSession = Profiled
    cases = {}
    with tempfile.TemporaryDirectory() as Profiled.folder:
        for tokens in TOKENS if not arguments.qvac else ():
            layers, _ = make_layers(arguments.model, tokens, 1500, arguments.threads)
            row = pack(random_examples([tokens], layers.shape.vocabulary))
            cases[f"one set of {tokens} tokens"] = profile(layers, row, arguments.steps)
        if arguments.qvac:
            files = Path(Profiled.folder) / "int8"
            layers, _ = make_layers(arguments.qvac, ROW_TOKENS, BUDGET_MB, arguments.threads, files=files)
            tokens = np.random.default_rng(0).integers(0, layers.shape.vocabulary, ROW_TOKENS)
            row = pack([labelled_example(tokens, start=1)])
            cases["Gemma 3 270M Q8_0, 128 labels"] = profile(layers, row, arguments.steps)
    for case, found in cases.items():
        print(f"{case}, {found['wall_ms']:.0f} ms a step under the profiler")
        for part, ms in found["parts_ms"].items():
            print(f"  {part:34}{ms:8.1f} ms {ms / found['wall_ms']:6.1%}")
    name = "train_profile_qvac" if arguments.qvac else "train_profile"
    write_results(name, {"threads": arguments.threads, "cases": cases})


if __name__ == "__main__":
    main()
