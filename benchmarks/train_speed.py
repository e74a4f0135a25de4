"""Training speed and memory beside torch + PEFT: same rows, same threads, steps taken in turn.

Run: make bench-train, or python benchmarks/train_speed.py [--rounds N] [--threads N] [--case CASE] [--bf16]
With --beside CHECKOUT it compares our sides with those of another, older checkout that is set up, and torch with none.
Each side is a process of its own that takes one step (forward, backward, AdamW) when told to, so all see
the same machine at the same time; medians are compared, memory is each process's peak over the steps that count,
after loading. Rows are single
sets of random tokens, and dialogue sets of the demo's story as training packs them; torch takes these as one
packed row with a block-diagonal mask, and as a padded batch. A further side does nothing but the products of
every token with the frozen weights, in ONNX Runtime: the floor of a float32 trainer that shares nothing. The sides
compared have adapters of rank 8 on all layers; two more are of the adapter that the settings make (rank 16 on the
upper half): a step of the first epoch, and of a later one, which finds what enters the trained layers kept
(train_quality.py shows what it learns beside the others).
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

import numpy as np
from common import TRAINING_SIDES, machine, make_layers, peak_mb, random_examples, start_peak, write_results
from idletune.examples import Example
from results_page import train_speed as page_table

CASES = {
    "256, one set": (256, False),
    "512, one set": (512, False),
    "256, story": (256, True),
    "512, story": (512, True),
}
PLENTY_MB = 1500
OUR_SIDES = ("ours", "ours_small", "default_first", "default_later")
WARMING = 2  # steps that warm caches and allocators, and are not counted
PAUSE = 0.5  # seconds between two sides: idle threads go on spinning for a while, and would take a core
STORY = Path(__file__).parents[1] / "device" / "idletune" / "data" / "demo_stream.jsonl"


def case_examples(case: str, model: Path) -> list[Example]:
    """The case's sets, of as many tokens as it says (sets of the story: as many as fit)."""
    from idletune.chat_files import read_exchanges
    from idletune.model.base_model import BaseModel

    tokens, story = CASES[case]
    with BaseModel(model) as base:
        if not story:
            return random_examples([tokens], base.vocabulary)
        encoded = [base.encode_exchange(e.question, e.response) for e in read_exchanges(STORY)[:50]]
    ends = np.cumsum([len(example.tokens) for example in encoded])
    return encoded[: int((ends <= tokens).sum())]


def worker(side: str, rows: Path, model: Path, threads: int) -> None:
    """Takes a step for every line on standard input; prints seconds and, after WARMING, peak memory in MB."""
    with np.load(rows) as kept:
        ends = np.cumsum(kept["lengths"])[:-1]
        sets = [Example(*pair) for pair in zip(np.split(kept["tokens"], ends), np.split(kept["labels"], ends))]
    make = {**dict.fromkeys(OUR_SIDES, our_step), "gemm": gemm_step}.get(side, torch_step)
    take_step = make(side, sets, model, threads)
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin):
        if number == WARMING:
            start_peak()  # loading is over
        start = time.perf_counter()
        loss = take_step()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "loss": loss, "peak_mb": peak_mb()}), flush=True)


def our_step(side: str, sets: list[Example], model: Path, threads: int):
    from idletune.errors import UsageError
    from idletune.settings import Settings
    from idletune.training.activation_cache import ActivationCache
    from idletune.training.optimizer import AdamW
    from idletune.training.packing import pack

    tokens, budget = len(pack(sets).tokens), PLENTY_MB
    if side == "ours_small":
        try:
            make_layers(model, tokens, 1, threads)
        except UsageError as error:  # which names the smallest budget
            budget = int(str(error).split("at least ")[1].split()[0])
    layers, plan = make_layers(model, tokens, budget, threads, Settings() if side.startswith("default") else None)
    print(f"{tokens} tokens: {plan}", file=sys.stderr)
    lora = layers.lora
    optimizer, caches = AdamW(lora.size), []

    def row_of_sets():
        if not lora.first:
            return pack(sets)
        if not caches or side == "default_first":
            caches[:] = [ActivationCache(layers, sets, tokens)]
        return pack(sets, [caches[0].of(i) for i in range(len(sets))])

    def step() -> float:
        row, gradient = row_of_sets(), np.zeros(lora.size, np.float32)
        loss, count = layers.gradients(row, gradient, 1 / len(row.labelled_positions))
        optimizer.update(lora.flat, gradient, 1e-4)
        return loss / count

    return step


def gemm_step(side: str, sets: list[Example], model: Path, threads: int):
    """Forward and backward products of all layers and the head (on labelled positions), from resident weights."""
    from idletune.formats.gguf_file import GgufFile
    from idletune.formats.model_shape import ModelShape
    from idletune.onnx_runtime.session import open_session
    from onnx import TensorProto, helper

    shape = ModelShape.of(GgufFile(model))

    def product(rows: int, inner: int, columns: int):
        names = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, None]) for n in ("a", "b", "c")]
        node = helper.make_node("Gemm", ["a", "b"], ["c"], transB=1)
        graph = helper.make_graph([node], "product", names[:2], names[2:])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        session = open_session(proto.SerializeToString(), threads)
        feeds = {"a": np.ones((rows, inner), np.float32), "b": np.ones((columns, inner), np.float32)}
        return lambda: session.run(None, feeds)

    tokens, labelled = sum(len(e.tokens) for e in sets), sum(int((e.labels >= 0).sum()) for e in sets)
    layer = [product(tokens, *pair) for r, c in shape.linear_shapes(0).values() for pair in ((c, r), (r, c))]
    part = 4096
    head = [product(labelled, shape.hidden, part), product(labelled, part, shape.hidden)]

    def step() -> float:
        for _ in range(shape.layers):
            for run in layer:
                run()
        for _ in range(-(-shape.vocabulary // part)):
            for run in head:
                run()
        return 0.0

    return step


def torch_step(side: str, sets: list[Example], path: Path, threads: int):
    import torch
    from idletune.formats.gguf_file import GgufFile
    from idletune.formats.model_shape import ModelShape
    from idletune.training.lora import Lora
    from idletune_export.hugging_face_folder import load_gguf_model
    from idletune_export.peft_model import with_peft

    torch.set_num_threads(threads)
    shape = ModelShape.of(GgufFile(path))
    model = with_peft(load_gguf_model(path), Lora(shape, "q,k,v,o", 8, 16).initialize(0))
    if side == "torch_bf16":
        model = model.to(torch.bfloat16)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    inputs = {name: torch.from_numpy(a) for name, a in (padded if side == "torch_padded" else packed)(sets).items()}
    if "attention_mask" in inputs and inputs["attention_mask"].is_floating_point():
        inputs["attention_mask"] = inputs["attention_mask"].to(model.dtype)

    def step() -> float:
        optimizer.zero_grad()
        loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def packed(sets: list[Example]) -> dict[str, np.ndarray]:
    """One row without padding: position ids that start anew, and a mask that keeps the sets apart."""
    tokens = np.concatenate([e.tokens for e in sets]).astype(np.int64)[None]
    labels = np.concatenate([np.insert(e.labels[:-1], 0, -100) for e in sets]).astype(np.int64)[None]
    inputs = {"input_ids": tokens, "labels": labels}  # transformers shifts labels itself
    if len(sets) > 1:
        lengths = [len(e.tokens) for e in sets]
        owner = np.repeat(np.arange(len(sets)), lengths)
        seen = (owner[:, None] == owner) & np.tri(len(owner), dtype=bool)
        inputs["attention_mask"] = np.where(seen, 0, np.finfo(np.float32).min).astype(np.float32)[None, None]
        inputs["position_ids"] = np.concatenate([np.arange(n) for n in lengths])[None]
    return inputs


def padded(sets: list[Example]) -> dict[str, np.ndarray]:
    """A batch as long as the longest set."""
    shape = len(sets), max(len(e.tokens) for e in sets)
    ids, attention, labels = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -100)
    for i, example in enumerate(sets):
        n = len(example.tokens)
        ids[i, :n], attention[i, :n], labels[i, 1:n] = example.tokens, 1, example.labels[:-1]
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


class Side:
    """A worker process and the steps it took."""

    def __init__(self, side: str, rows: Path, arguments, checkout: Path | None = None):
        here = [sys.executable, __file__]
        there = checkout and [checkout / ".venv" / "bin" / "python", checkout / "benchmarks" / "train_speed.py"]
        command = [*(there or here), "--worker", side, "--rows", str(rows), "--model", str(arguments.model)]
        command += ["--threads", str(arguments.threads)]
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
        counted = self.steps[WARMING:]
        each = [round(step["seconds"], 4) for step in counted]
        return {
            "seconds": round(median(each), 4),
            "peak_mb": round(counted[-1]["peak_mb"]),
            "rounds": each,
            "first_loss": self.steps[0]["loss"],
            "last_loss": self.steps[-1]["loss"],
        }


def times_as_long(theirs: dict, ours: dict) -> float:
    """The median over the rounds, each with the step beside it: a slow moment of the machine hits both."""
    return round(median(a / b for a, b in zip(theirs["rounds"], ours["rounds"])), 3)


def steps_in_turn(sets: list[Example], sides: dict, arguments) -> dict[str, dict]:
    """What each side took; `sides` are by name those of a Side: its own name, and the checkout it is of."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        lengths = [len(e.tokens) for e in sets]
        arrays = {name: np.concatenate([getattr(example, name) for example in sets]) for name in ("tokens", "labels")}
        np.savez(rows, lengths=lengths, **arrays)
        running = {name: Side(side, rows, arguments, checkout) for name, (side, checkout) in sides.items()}
    for _ in range(arguments.rounds + WARMING):
        for side in running.values():
            side.step()
            time.sleep(PAUSE)
    return {name: side.close() for name, side in running.items()}


def measure(case: str, names: list[str], arguments) -> dict:
    """All sides on one case, a step each in turn."""
    sets = case_examples(case, arguments.model)
    if len(sets) == 1:
        names = [name for name in names if name != "torch_padded"]
    found = steps_in_turn(sets, {name: (name, None) for name in names}, arguments)
    tokens = sum(len(e.tokens) for e in sets)
    for numbers in found.values():
        numbers["tokens_per_second"] = round(tokens / numbers["seconds"], 1)
        numbers["ours_is_faster_by"] = times_as_long(numbers, found["ours"])
    found["sets"], found["tokens"] = len(sets), tokens
    found["of_gemm_speed"] = times_as_long(found["gemm"], found["ours"])
    found["memory_of_torch_fp32"] = round(found["ours_small"]["peak_mb"] / found["torch_fp32"]["peak_mb"], 3)
    return found


def beside(case: str, arguments) -> dict:
    """Our sides here and in another checkout, a step each in turn."""
    found = {}
    for side in OUR_SIDES:  # one after the other: eight processes at once would share the caches
        sides = {"here": (side, None), "there": (side, arguments.beside)}
        pair = steps_in_turn(case_examples(case, arguments.model), sides, arguments)
        found[side] = {**pair, "times_as_long": times_as_long(pair["here"], pair["there"])}
        here, there = pair["here"], pair["there"]
        print(f"{case:14} {TRAINING_SIDES[side]:38} {here['seconds']:.3f} s, there {there['seconds']:.3f} s:", end=" ")
        print(
            f"{found[side]['times_as_long']:.2f} times; {here['peak_mb']} MB, there {there['peak_mb']} MB", flush=True
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="torch in bf16 even on a CPU without AVX512-BF16: slow")
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout: our sides in both")
    parser.add_argument("--worker", choices=TRAINING_SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(arguments.worker, arguments.rows, arguments.model, arguments.threads)
    cases = [arguments.case] if arguments.case else list(CASES)
    if arguments.beside:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=arguments.beside, check=True, capture_output=True, text=True
        ).stdout.strip()
        found = {case: beside(case, arguments) for case in cases}
        if not arguments.case:
            write_results("train_speed_beside", {"threads": arguments.threads, "there": commit, "cases": found})
        return
    bf16 = arguments.bf16 or "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    names = [name for name in TRAINING_SIDES if name != "torch_bf16" or bf16]
    results = {"threads": arguments.threads, "cases": {case: measure(case, names, arguments) for case in cases}}
    print(machine(), "", *page_table(results), sep="\n")
    if not arguments.case:
        write_results("train_speed", results)


if __name__ == "__main__":
    main()
