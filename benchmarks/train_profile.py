"""Where a training step's time goes: the kernels of ONNX Runtime's own profile, by what they are for.

Run: make bench-train, or python benchmarks/train_profile.py [--steps N] [--threads N]
A single set a row, rank 8 on q, k, v and o of all layers, as beside other trainers (train_speed.py). The profiler
itself takes time, a few microseconds a kernel, so shares count more than sums. What no kernel took is Python, starting
kernels, and preparing weights in the first step.
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
from idletune.onnx_runtime import session
from idletune.training.packing import pack

ONCE = ("graphs-", "int8-product")  # graphs that prepare the weights, in the first step alone
HEAD = ("head-", "int8-gather", "int8-quantize_tokens")  # what the names of the head's graphs hold
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


def profile(model: Path, tokens: int, steps: int, threads: int) -> dict:
    """Milliseconds a step by purpose."""
    layers, plan = make_layers(model, tokens, 1500, threads)
    row, gradient = pack(random_examples([tokens], layers.shape.vocabulary)), np.zeros(layers.lora.size, np.float32)
    start = time.perf_counter()
    for _ in range(steps):
        layers.gradients(row, gradient, 1e-3)
    wall = 1e3 * (time.perf_counter() - start) / steps
    took = defaultdict(float)
    for opened in Profiled.opened:
        path = opened.end_profiling()
        name = Path(path).name
        if name.startswith(ONCE):
            continue
        head = any(part in name for part in HEAD)
        for event in json.loads(Path(path).read_text()):
            if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
                shapes = [list(shape.values())[0] for shape in event["args"]["input_type_shape"]]
                took[purpose(event["args"]["op_name"], shapes, head, layers.lora.rank)] += event["dur"] / 1e3 / steps
    Profiled.opened.clear()
    took["outside of kernels"] = wall - sum(took.values())
    parts = dict(sorted(took.items(), key=lambda part: -part[1]))
    return {"plan": str(plan), "wall_ms": round(wall, 1), "parts_ms": {k: round(v, 1) for k, v in parts.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    session.ort.InferenceSession = Profiled
    with tempfile.TemporaryDirectory() as Profiled.folder:
        cases = {tokens: profile(arguments.model, tokens, arguments.steps, arguments.threads) for tokens in TOKENS}
    for tokens, found in cases.items():
        print(f"{tokens} tokens, {found['wall_ms']:.0f} ms a step under the profiler")
        for part, ms in found["parts_ms"].items():
            print(f"  {part:34}{ms:8.1f} ms {ms / found['wall_ms']:6.1%}")
    write_results("train_profile", {"threads": arguments.threads, "cases": cases})


if __name__ == "__main__":
    main()
