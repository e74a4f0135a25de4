"""A training step beside QVAC (npm @qvac/llm-llamacpp), the one peer that trains from a GGUF on a phone.

Run: make bench-qvac, or python benchmarks/train_qvac.py [MODEL.gguf | NAME] [--rows N]
Both train rank 8 on q,k,v,o over the same text in rows of 128 tokens, every token a label, on as many threads; ours
with int8 weights in files, as it comes. QVAC takes F16, Q8_0 and Q4_0 files of gemma3 and qwen3 only: make bench-qvac
converts Gemma 3 270M to Q8_0, and makes a file of Qwen3 0.6B's shape with random weights (random_models.py).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from statistics import median

from common import RESULTS, AnonymousPeak, machine, make_layers, peak_mb
from random_models import MODELS, q8_0, write_model

HERE = Path(__file__).parent
PACKAGES = ("@qvac/llm-llamacpp@0.53.0", "bare-runtime")
FOLDER = HERE.parent / ".cache" / "qvac"
RESULT = RESULTS / "train_qvac.json"
ROW_TOKENS = 128
BUDGET_MB = 420  # ours; QVAC has none to set


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


def ours(model: Path, text: str, rows: int, threads: int, memory_mb: int, files: Path) -> dict:
    """The same rows here; every step updates the adapter. `files`: folder of the int8 weights."""
    import numpy as np
    from idletune.examples import labelled_example
    from idletune.model.base_model import BaseModel
    from idletune.training.optimizer import AdamW
    from idletune.training.packing import pack

    with BaseModel(model, context_tokens=256, threads=threads) as base:
        tokens = base.tokenize(text)
    layers, plan = make_layers(model, ROW_TOKENS, memory_mb, threads, files=files)
    optimizer, seconds, losses = AdamW(layers.lora.size), [], []
    with AnonymousPeak() as anonymous:
        for number in range(rows):
            start = time.monotonic()
            row = pack([labelled_example(tokens[number * ROW_TOKENS :][:ROW_TOKENS], start=1)])
            gradient = np.zeros(layers.lora.size, np.float32)
            total, count = layers.gradients(row, gradient, 1 / (ROW_TOKENS - 1))
            optimizer.update(layers.lora.flat, gradient, 1e-4)
            seconds.append(time.monotonic() - start)
            losses.append(total / count)
    found = {"seconds": median(seconds[2:]), "steps": rows, "peak_mb": round(peak_mb()), "losses": losses}
    return {**found, "anonymous_mb": round(anonymous.peak_mb), "plan": str(plan)}


def tokens_of(text: str, model: Path, count: int) -> str:
    """A beginning of the text, over and over, that has about so many tokens."""
    from idletune.model.base_model import BaseModel

    with BaseModel(model, context_tokens=256, threads=1) as base:
        size = len(base.tokenize(text))
    return (text + " ") * (count // size) + text[: len(text) * (count % size) // size]


def measure(model: Path, arguments: argparse.Namespace, folder: Path) -> dict:
    """Both sides on one file."""
    probe = (files("idletune") / "data" / "general_probe.txt").read_text(encoding="utf-8")
    text = tokens_of(" ".join(probe.split()), model, ROW_TOKENS * (arguments.rows + 2))
    load = os.getloadavg()[0]
    qvac = theirs(install(), model.resolve(), text, arguments.threads)
    mine = ours(model, text, arguments.rows, arguments.threads, arguments.memory_mb, folder / "int8")
    faster_by = round(qvac["seconds"] / mine["seconds"], 2)
    share = round(mine["peak_mb"] / qvac["peak_mb"], 3)
    return {"load": load, "row_tokens": ROW_TOKENS, "qvac": qvac, "ours": mine, "faster_by": faster_by, "share": share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a file, or the name of a shape: random weights in Q8_0")
    parser.add_argument("--name", help="what the results call it")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--memory-mb", type=int, default=BUDGET_MB, help="our budget; QVAC has none to set")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        is_shape = arguments.model in MODELS
        model = Path(arguments.model)
        if is_shape:
            model = write_model(Path(folder) / "model.gguf", arguments.model, q8_0)
        found = measure(model, arguments, Path(folder))
    name = arguments.name or f"{arguments.model if is_shape else model.stem}{' (random weights)' * is_shape}"
    kept = json.loads(RESULT.read_text()).get("models", {}) if RESULT.is_file() else {}
    kept[name] = {"commit": machine()["commit"], **found}
    RESULT.write_text(json.dumps({"machine": machine(), "models": kept}, indent=1) + "\n")
    for side in ("qvac", "ours"):
        print(f"{side:6}{found[side]['seconds']:8.2f} s a step {found[side]['peak_mb']:6} MB at the peak")
    print(f"{name}: faster by {found['faster_by']}x, in {found['share']:.0%} of the memory")


if __name__ == "__main__":
    main()
