"""A training step beside QVAC (npm @qvac/llm-llamacpp), the one peer that trains from a GGUF on a phone.

Run: make bench-qvac, or python benchmarks/train_qvac.py MODEL.gguf [--rows N]
Both train rank 8 on q,k,v,o over the same text in rows of 128 tokens, every token a label, on as many threads.
QVAC takes F16, Q8_0 and Q4_0 files of gemma3 and qwen3 only: make bench-qvac converts Gemma 3 270M to Q8_0.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from common import RESULTS, make_layers, peak_mb, write_results

HERE = Path(__file__).parent
PACKAGES = ("@qvac/llm-llamacpp@0.53.0", "bare-runtime")
FOLDER = HERE.parent / ".cache" / "qvac"
ROW_TOKENS = 128


def install() -> Path:
    """QVAC's runtime from npm, once; returns the program that runs it."""
    program = FOLDER / "node_modules" / ".bin" / "bare"
    if not program.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", FOLDER, *PACKAGES], check=True)
    return program


def theirs(program: Path, model: Path, text: str, threads: int) -> dict:
    """Seconds between QVAC's steps, and the peak memory of its process, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text.txt").write_text(text, encoding="utf-8")
        script = FOLDER / "qvac_train.js"  # beside node_modules, where its imports are looked for
        script.write_bytes((HERE / "qvac_train.js").read_bytes())
        command = [program, script, model, f"{folder}/text.txt", folder, str(threads), str(ROW_TOKENS)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        steps, peak = [], 0.0
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            if "error" in told:
                sys.exit(f"QVAC does not train this file: {told['error']}")
            if "step" in told:
                steps.append((time.monotonic(), told["loss"]))
                peak = peak_of_children(process.pid)
        process.wait()
    seconds = [after - before for (before, _), (after, _) in zip(steps, steps[1:])]
    losses = [loss for _, loss in steps]
    return {"seconds": median(seconds), "steps": len(steps), "peak_mb": round(peak), "losses": losses}


def peak_of_children(pid: int) -> float:
    """The npm program only starts the runtime: its child's peak memory counts, in MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = "".join(Path(f"/proc/{child}/status").read_text() for child in children)
    return max(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmHWM:"))


def ours(model: Path, text: str, rows: int, threads: int, memory_mb: int) -> dict:
    """The same rows here; every step updates the adapter."""
    import numpy as np
    from idletune.examples import labelled_example
    from idletune.model.base_model import BaseModel
    from idletune.training.optimizer import AdamW
    from idletune.training.packing import pack

    with BaseModel(model, context_tokens=256, threads=threads) as base:
        tokens = base.tokenize(text)
    layers, plan = make_layers(model, ROW_TOKENS, memory_mb, threads)
    optimizer, seconds, losses = AdamW(layers.lora.size), [], []
    for number in range(rows):
        start = time.monotonic()
        row = pack([labelled_example(tokens[number * ROW_TOKENS :][:ROW_TOKENS], start=1)])
        gradient = np.zeros(layers.lora.size, np.float32)
        total, count = layers.gradients(row, gradient, 1 / (ROW_TOKENS - 1))
        optimizer.update(layers.lora.flat, gradient, 1e-4)
        seconds.append(time.monotonic() - start)
        losses.append(total / count)
    found = {"seconds": median(seconds[2:]), "steps": rows, "peak_mb": round(peak_mb()), "losses": losses}
    return {**found, "plan": str(plan)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--memory-mb", type=int, default=700, help="our budget; QVAC has none to set")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    probe = (HERE.parent / "device" / "data" / "general_probe.txt").read_text(encoding="utf-8")
    text = " ".join(probe.split())
    while len(text) < 6 * ROW_TOKENS * (arguments.rows + 1):
        text += " " + text
    text = text[: 5 * ROW_TOKENS * (arguments.rows + 1)]
    results = {
        "qvac": theirs(install(), arguments.model.resolve(), text, arguments.threads),
        "ours": ours(arguments.model, text, arguments.rows, arguments.threads, arguments.memory_mb),
    }
    results["faster_by"] = round(results["qvac"]["seconds"] / results["ours"]["seconds"], 2)
    results["memory_share"] = round(results["ours"]["peak_mb"] / results["qvac"]["peak_mb"], 3)
    RESULTS.mkdir(exist_ok=True)
    write_results("train_qvac", {"model": arguments.model.name, "row_tokens": ROW_TOKENS, **results})
    for name in ("qvac", "ours"):
        print(f"{name:6}{results[name]['seconds']:8.2f} s a step {results[name]['peak_mb']:6} MB at the peak")
    print(f"faster by {results['faster_by']}x, in {results['memory_share']:.0%} of the memory")


if __name__ == "__main__":
    main()
