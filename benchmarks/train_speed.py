"""Training speed and memory beside torch + PEFT: same rows, same threads, steps taken in turn.

Run: make bench-train, or python benchmarks/train_speed.py [--rounds N] [--threads N]
Each side is a process of its own that takes one step (forward, backward, AdamW) when told to, so both see
the same machine at the same time; medians are compared, memory is each process's peak.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results" / "train_speed.json"
CASES = {"256": [256], "512": [512], "512 of 8 sets": [31, 96, 44, 120, 58, 27, 85, 51]}
SIDES = {"ours": "idletune", "torch_fp32": "torch + peft fp32", "torch_bf16": "torch + peft bf16"}


def worker(side: str, case: str, model: Path, threads: int, memory_mb: int) -> None:
    """Takes a step for every line on standard input; prints seconds and peak memory in MB."""
    take_step = our_step(case, model, threads, memory_mb) if side == "ours" else torch_step(side, case, model, threads)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = take_step()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "loss": loss, "peak_mb": peak_mb()}), flush=True)


def peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def examples(case: str, vocabulary: int):
    import numpy as np
    from idletune.training.rows import Example

    rng, made = np.random.default_rng(0), []
    for n in CASES[case]:
        tokens = rng.integers(0, vocabulary, n).astype(np.int32)
        labels = np.append(tokens[1:], -100).astype(np.int32)
        labels[: n // 2] = -100  # the prompt's half carries no label
        made.append(Example(tokens, labels))
    return made


def our_step(case: str, model: Path, threads: int, memory_mb: int):
    import numpy as np
    from idletune.gguf_file import GgufFile
    from idletune.training.layers import Layers
    from idletune.training.lora import Lora
    from idletune.training.optimizer import AdamW
    from idletune.training.plan import plan_memory
    from idletune.training.rows import make_row
    from idletune.training.shape import ModelShape, find_graphs
    from idletune.training.weights import Weights

    file = GgufFile(model)
    shape = ModelShape.of(file)
    plan = plan_memory(shape, sum(CASES[case]), memory_mb)
    print(f"{case}: {plan}", file=sys.stderr)
    lora = Lora(shape, "q,k,v,o", 8, 16).initialize(0)
    weights = Weights(file, shape, threads=threads, resident=plan.resident_layers)
    layers = Layers(weights, find_graphs(shape), lora, threads=threads, recompute=plan.recompute)
    optimizer, sets = AdamW(lora.size), examples(case, shape.vocabulary)

    def step() -> float:
        row, gradient = make_row(sets), np.zeros(lora.size, np.float32)
        loss, count = layers.gradients(row, gradient, 1 / len(row.labelled))
        optimizer.update(lora.flat, gradient, 1e-4)
        return loss / count

    return step


def torch_step(side: str, case: str, path: Path, threads: int):
    import torch
    from idletune.gguf_file import GgufFile
    from idletune.training.lora import Lora
    from idletune.training.shape import ModelShape
    from idletune_export.hugging_face import load_gguf, with_peft

    torch.set_num_threads(threads)
    shape = ModelShape.of(GgufFile(path))
    model = with_peft(load_gguf(path, shape), Lora(shape, "q,k,v,o", 8, 16).initialize(0))
    if side == "torch_bf16":
        model = model.to(torch.bfloat16)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    sets = examples(case, shape.vocabulary)
    longest = max(len(e.tokens) for e in sets)  # a padded batch, as a PEFT script makes one
    ids, labels = torch.zeros(len(sets), longest, dtype=torch.long), torch.full((len(sets), longest), -100)
    attention = torch.zeros(len(sets), longest, dtype=torch.long)
    for i, example in enumerate(sets):
        n = len(example.tokens)
        ids[i, :n], attention[i, :n] = torch.from_numpy(example.tokens), 1
        labels[i, 1:n] = torch.from_numpy(example.labels[:-1])  # transformers shifts labels itself
    attention = attention if len(sets) > 1 else None

    def step() -> float:
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=labels, attention_mask=attention).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class Side:
    """A worker process and the steps it took."""

    def __init__(self, side: str, case: str, arguments):
        command = [sys.executable, __file__, "--worker", side, "--case", case, "--model", str(arguments.model)]
        command += ["--threads", str(arguments.threads), "--memory-mb", str(arguments.memory_mb)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout.readline() == "ready\n", f"{side} did not start"
        self.steps: list[dict] = []

    def step(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.steps.append(json.loads(self.process.stdout.readline()))

    def close(self) -> dict:
        self.process.stdin.close()
        self.process.wait()
        counted = self.steps[2:]  # the first two warm caches and allocators
        return {
            "seconds": round(median(s["seconds"] for s in counted), 4), "peak_mb": round(counted[-1]["peak_mb"]),
            "first_loss": self.steps[0]["loss"], "last_loss": self.steps[-1]["loss"],
        }


def measure(case: str, arguments) -> dict:
    """All sides on one case, a step each in turn."""
    sides = {name: Side(name, case, arguments) for name in SIDES}
    for _ in range(arguments.rounds + 2):
        for side in sides.values():
            side.step()
    found = {name: side.close() for name, side in sides.items()}
    tokens = sum(CASES[case])
    for name, numbers in found.items():
        numbers["tokens_per_second"] = round(tokens / numbers["seconds"], 1)
    for other in ("torch_fp32", "torch_bf16"):
        found[f"speed_over_{other}"] = round(found[other]["seconds"] / found["ours"]["seconds"], 2)
    found["memory_of_torch_fp32"] = round(found["ours"]["peak_mb"] / found["torch_fp32"]["peak_mb"], 2)
    return found


def table(results: dict) -> str:
    lines = ["| rows of | side | s a step | tokens/s | peak MB | ours is faster by |", "|---|---|---|---|---|---|"]
    for case, found in results["cases"].items():
        for name, label in SIDES.items():
            ratio = f"{found[f'speed_over_{name}']:.2f}x" if name != "ours" else ""
            n = found[name]
            lines.append(
                f"| {case} | {label} | {n['seconds']:.2f} | {n['tokens_per_second']:.0f} | {n['peak_mb']} | {ratio} |"
            )
    return "\n".join(lines)


def machine() -> dict:
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), "?")
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), "commit": head, "date": str(date.today())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-mb", type=int, default=1200)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(arguments.worker, arguments.case, arguments.model, arguments.threads, arguments.memory_mb)
    cases = [arguments.case] if arguments.case else list(CASES)
    results = {"machine": machine(), "threads": arguments.threads, "cases": {}}
    for case in cases:
        results["cases"][case] = measure(case, arguments)
    print(table(results))
    if not arguments.case:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
