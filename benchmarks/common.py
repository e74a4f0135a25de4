"""What the benchmarks share: the machine's name, peak memory, result files, and training set up in one call."""

import json
import os
import platform
import subprocess
from datetime import date
from pathlib import Path
from threading import Event, Thread

import numpy as np

RESULTS = Path(__file__).parent / "results"
TRAINING_SIDES = {
    "ours": "idletune",
    "ours_small": "idletune, smallest memory",
    "default_first": "idletune as it comes, first epoch",
    "default_later": "idletune as it comes, later epochs",
    "torch_fp32": "torch + PEFT fp32",
    "torch_padded": "torch + PEFT fp32, padded batch",
    "torch_bf16": "torch + PEFT bf16",
    "gemm": "frozen products alone, fp32",
}


def machine() -> dict:
    """CPU, cores, commit and date, as every table states them."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), "?")
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    found = {"cpu": model, "cores": os.cpu_count(), "system": platform.system()}
    return {**found, "commit": head, "date": str(date.today())}


def start_peak() -> None:
    """Let the process's peak memory begin anew at what it holds now (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The process's peak resident memory so far, or since `start_peak`, in MB."""
    return status_mb("VmHWM")


class AnonymousPeak:
    """The highest RssAnon of the process inside the block (proc(5)), looked at every 5 ms by a thread."""

    def __enter__(self) -> "AnonymousPeak":
        self.peak_mb, self._ended = status_mb("RssAnon"), Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.005):
            self.peak_mb = max(self.peak_mb, status_mb("RssAnon"))


def status_mb(name: str) -> float:
    """A line of /proc/self/status in MB."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024 / 1e6


def write_results(name: str, results: dict) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), **results}, indent=1) + "\n")


def done_lines(path: Path) -> list[dict]:
    """The objects of a file of results, one a line; none where there is no file."""
    if not path.is_file():
        return []
    found = [_parsed(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [each for each in found if each]


def _parsed(line: str) -> dict | None:
    """A line; None for one that a kill has cut."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def end_last_line(path: Path) -> None:
    """End a line that a kill has cut, so that the next one stands for itself."""
    if path.is_file() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        with open(path, "ab") as file:
            file.write(b"\n")


def random_examples(lengths: list[int], vocabulary: int, seed: int = 0):
    """Examples of the given lengths; the first half of each, the prompt, carries no label."""
    from idletune.examples import Example

    rng, made = np.random.default_rng(seed), []
    for n in lengths:
        tokens = rng.integers(0, vocabulary, n).astype(np.int32)
        labels = np.append(tokens[1:], -100).astype(np.int32)
        labels[: n // 2] = -100
        made.append(Example(tokens, labels))
    return made


def make_layers(
    model: Path, sequence_tokens: int, memory_mb: int, threads: int, settings=None, files: Path | None = None
):
    """(Layers, MemoryPlan) over a GGUF file with a fresh adapter, within a memory budget. `files`: a folder in which
    its int8 weights are kept and mapped.

    The adapter is the one `settings` ask for; without them of rank 8 on q, k, v and o of all layers, the form that
    other trainers are compared in.
    """
    from idletune.formats.gguf_file import GgufFile
    from idletune.formats.model_shape import ModelShape
    from idletune.settings import Settings
    from idletune.training.int8 import use_int8
    from idletune.training.int8_files import Int8Files
    from idletune.training.layers import Layers
    from idletune.training.lora import Lora
    from idletune.training.plan import plan_memory
    from idletune.training.weights import Weights

    file = GgufFile(model)
    shape = ModelShape.of(file)
    settings = settings or Settings(targets="q,k,v,o", rank=8, alpha=16.0, top_share=1.0)
    lora = Lora.from_settings(shape, settings)
    int8 = use_int8(settings.matmul_dtype, threads)
    plan = plan_memory(lora, sequence_tokens, memory_mb, int8=int8, mapped=files is not None)
    mapped = Int8Files(files, Weights(file, shape, threads=threads), lora).map() if files and plan.mapped else None
    return Layers.planned(file, lora, plan, threads, mapped), plan
