"""How time and memory grow with layers and tokens, on a synthetic model of a 1B's block (hidden 2048).

Run: make bench-train, or python benchmarks/train_growth.py
Weights are random Q4_0 blocks; the smallest budget is used, so that every layer is unpacked when its turn
comes. Each measurement is a process of its own, of gradients alone: AdamW's two moments would add twice the adapter's
size. With layers, memory grows by what each adds to the adapter and its gradient and by one layer input a row, never by
its weights.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from common import make_layers, peak_mb, random_examples, write_results

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, VOCABULARY = 2048, 8192, 32, 8, 4096
KV_WIDTH = HIDDEN // HEADS * KV_HEADS
LINEARS = {
    "attn_q": (HIDDEN, HIDDEN),
    "attn_k": (KV_WIDTH, HIDDEN),
    "attn_v": (KV_WIDTH, HIDDEN),
    "attn_output": (HIDDEN, HIDDEN),
    "ffn_gate": (FEED_FORWARD, HIDDEN),
    "ffn_up": (FEED_FORWARD, HIDDEN),
    "ffn_down": (HIDDEN, FEED_FORWARD),
}
POINTS = [(layers, 64) for layers in (2, 4, 8, 16, 32)] + [(4, tokens) for tokens in (128, 256)]


def write_model(path: Path, layers: int) -> None:
    """A GGUF of random Q4_0 blocks; every layer has its own."""
    import gguf

    rng, writer = np.random.default_rng(0), gguf.GGUFWriter(path, "llama")
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)

    def add(name, rows, columns):
        blocks = rng.integers(0, 256, (rows, columns // 32, 18), dtype=np.uint8)
        blocks[:, :, :2] = np.float16(0.02 / 8).reshape(1).view(np.uint8)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    add("token_embd.weight", VOCABULARY, HIDDEN)
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    for n in range(layers):
        for name, size in LINEARS.items():
            add(f"blk.{n}.{name}.weight", *size)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{n}.{name}.weight", np.ones(HIDDEN, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def measure(model: Path, tokens: int, threads: int) -> dict:
    from idletune.errors import UsageError
    from idletune.training.packing import pack

    try:
        make_layers(model, tokens, 1, threads)
    except UsageError as error:  # which names the smallest budget
        least = int(str(error).split("at least ")[1].split()[0])
    layers, _ = make_layers(model, tokens, least, threads)
    row, gradient = pack(random_examples([tokens], VOCABULARY)), np.zeros(layers.lora.size, np.float32)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        layers.gradients(row, gradient, 1.0)
        seconds.append(time.perf_counter() - start)
    return {"seconds": round(median(seconds[1:]), 3), "peak_mb": round(peak_mb()), "budget_mb": least}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return print(json.dumps(measure(Path(arguments.worker[0]), int(arguments.worker[1]), arguments.threads)))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for layers, tokens in POINTS:
            write_model(folder / "model.gguf", layers)
            command = [sys.executable, __file__, "--worker", str(folder / "model.gguf"), str(tokens)]
            command += ["--threads", str(arguments.threads)]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found.append({"layers": layers, "tokens": tokens, **result})
            measured = f"{result['seconds']:7.2f} s a step, peak {result['peak_mb']} MB"
            print(f"{layers:3} layers, {tokens:4} tokens: {measured}", flush=True)
    write_results("train_growth", {"block": LINEARS, "points": found})


if __name__ == "__main__":
    main()
