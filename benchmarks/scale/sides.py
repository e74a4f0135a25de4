"""One side of the comparison in a process of its own: takes a step for each line on standard input.

It prints one JSON object a line: first what making ready took, then seconds and memory of each step.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import AnonymousPeak, random_examples, start_peak, status_mb

TOKENS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=sorted(SIDES))
    parser.add_argument("model", type=Path)
    parser.add_argument("files", type=Path, help="folder of int8 weights")
    parser.add_argument("--free-mb", type=float, default=4000, help="free memory that the budget is found for")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    start = time.perf_counter()
    step, facts = SIDES[arguments.side](arguments)
    say(prepare_seconds=time.perf_counter() - start, **facts)
    for _ in sys.stdin:
        if arguments.side == "ours_cold":
            drop_cached_pages(arguments.files)
        start_peak()
        start, cpu = time.perf_counter(), time.process_time()
        with AnonymousPeak() as anonymous:
            loss = step()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        say(seconds=seconds, cpu_seconds=cpu, loss=loss, anonymous_mb=anonymous.peak_mb, peak_mb=status_mb("VmHWM"))


def say(**facts) -> None:
    print(json.dumps(facts), flush=True)


def ours(arguments):
    """A step of a later epoch, with the adapter and the budget that the settings have by default."""
    from idletune.training.activation_cache import ActivationCache
    from idletune.training.optimizer import AdamW
    from idletune.training.packing import pack

    layers, facts = layers_of(arguments)
    lora, sets = layers.lora, random_examples([TOKENS], layers.shape.vocabulary)
    optimizer, cache = AdamW(lora.size), ActivationCache(layers, sets, TOKENS)

    def step() -> float:
        row, gradient = pack(sets, [cache.of(0)]), np.zeros(lora.size, np.float32)
        loss, count = layers.gradients(row, gradient, 1 / len(row.labelled_positions))
        optimizer.update(lora.flat, gradient, 1e-4)
        return loss / count

    return step, facts


def frozen(arguments, int8: bool):
    """The pass through the frozen layers below the adapter, which the first epoch takes once for each sequence."""
    from idletune.training.packing import pack

    layers, facts = layers_of(arguments)
    row = pack(random_examples([TOKENS], layers.shape.vocabulary))
    return lambda: float(layers.frozen_forward([row], training=int8)[0].mean()), facts


def loss(arguments, above_frozen: bool):
    """A float32 pass as each held-out sequence takes it twice: through all layers for the base model's loss, and above
    the frozen ones alone for the adapter's."""
    from idletune.training.packing import pack

    layers, facts = layers_of(arguments)
    row = pack(random_examples([TOKENS], layers.shape.vocabulary))
    if above_frozen:
        row = replace(row, state=layers.frozen_forward([row])[0])

    def step() -> float:
        total, count = layers.loss(row)
        return total / count

    return step, facts


def engine(arguments):
    """A held-out answer's loss in llama.cpp, half of its tokens labelled."""
    from idletune.model.context import Context
    from idletune.model.evaluation import Evaluator
    from idletune.model.llama_engine import LlamaEngine

    model = LlamaEngine(arguments.model, cells=2 * TOKENS, sequences=2, threads=arguments.threads)
    evaluator, examples = Evaluator(Context(model, 1)), random_examples([TOKENS], model.vocabulary)

    def step() -> float:
        total, count = evaluator.negative_log_likelihood(examples)
        return total / count

    return step, {"plan": "llama.cpp"}


def layers_of(arguments):
    return our_layers(
        arguments.model, arguments.files, arguments.threads, arguments.free_mb, arguments.side == "ours_smallest"
    )


def our_layers(model: Path, folder: Path, threads: int, free_mb: float, smallest: bool = False):
    """Layers as `free_mb` of free memory allow, or in the smallest budget, and facts of their plan. The int8 weights
    are kept in `folder`."""
    from idletune.formats.gguf_file import GgufFile
    from idletune.formats.model_shape import ModelShape
    from idletune.settings import Settings
    from idletune.training.budget import plan_within_budget
    from idletune.training.int8 import use_int8
    from idletune.training.int8_files import Int8Files
    from idletune.training.layers import Layers
    from idletune.training.lora import Lora
    from idletune.training.weights import Weights

    gguf = GgufFile(model)
    settings = Settings(threads=threads)
    lora = Lora.from_settings(ModelShape.of(gguf), settings)
    int8 = use_int8(settings.matmul_dtype, threads)
    if smallest:
        settings = replace(settings, memory_mb=smallest_budget(lora, settings, int8))
    plan = plan_within_budget(lora, settings, int8=int8, mapped=True, free_mb=free_mb)
    files = Int8Files(folder, Weights(gguf, lora.shape, threads=threads), lora)
    mapped = files.map() if plan.mapped else None
    facts = {"plan": str(plan), "planned_mb": plan.megabytes, "file_mb": mapped.bytes / 1e6 if mapped else 0}
    return Layers.planned(gguf, lora, plan, threads, mapped), facts


def smallest_budget(lora, settings, int8: bool) -> int:
    """As the refusal of a budget that is too small names it, in MB."""
    from idletune.errors import UsageError
    from idletune.training.budget import plan_within_budget

    try:
        plan_within_budget(lora, replace(settings, memory_mb=1), int8=int8, mapped=True)
    except UsageError as error:
        return int(str(error).split("at least ")[1].split()[0])
    raise AssertionError("1 MB is enough")


def drop_cached_pages(folder: Path) -> None:
    """Let the system forget the files' pages, so that the step reads them from storage."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def torch_fp32(arguments):
    """PyTorch + PEFT in float32, rank 8 on q, k, v and o of all layers."""
    import torch
    from idletune.formats.gguf_file import GgufFile
    from idletune.formats.model_shape import ModelShape
    from idletune.training.lora import Lora
    from idletune_export.hugging_face_folder import load_gguf_model
    from idletune_export.peft_model import with_peft

    torch.set_num_threads(arguments.threads)
    shape = ModelShape.of(GgufFile(arguments.model))
    model = with_peft(load_gguf_model(arguments.model), Lora(shape, "q,k,v,o", 8, 16).initialize(0))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    (example,) = random_examples([TOKENS], shape.vocabulary)
    labels = np.insert(example.labels[:-1], 0, -100)
    inputs = {"input_ids": example.tokens, "labels": labels}
    batch = {name: torch.from_numpy(array.astype(np.int64))[None] for name, array in inputs.items()}

    def step() -> float:
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, {"plan": "PyTorch + PEFT fp32"}


SIDES = {
    "ours": ours,
    "ours_smallest": ours,
    "ours_cold": ours,
    "frozen_float32": lambda arguments: frozen(arguments, int8=False),
    "frozen_int8": lambda arguments: frozen(arguments, int8=True),
    "loss": lambda arguments: loss(arguments, above_frozen=False),
    "loss_above": lambda arguments: loss(arguments, above_frozen=True),
    "engine": engine,
    "torch": torch_fp32,
}


if __name__ == "__main__":
    main()
