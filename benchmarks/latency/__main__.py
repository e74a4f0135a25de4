"""Latency on a target: make bench-latency TARGET=host|qemu-aarch64|adb:SERIAL

Run: python -m benchmarks.latency TARGET [--repeats N] [--threads N] [--model GGUF]
     python -m benchmarks.latency --compare A.json B.json
Writes latency-TARGET.json, .md and .png to benchmarks/results. On emulated targets the tiny random model is
measured, the whole loop runs on it, and its losses and those of a few steps of the base model must be the host's.
"""

import argparse
import json
import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from idletune.errors import IdleTuneError, UsageError
from idletune.progress import Progress

from ..common import RESULTS, machine
from .parity import check, differences
from .report import draw, markdown
from .summary import FEWEST, compare, summarize
from .targets import ROOT, Host, Target, make_target

PROGRAM = Path(__file__).parent / "on_target.py"
MEASURED = ["start_up", "serving", "beside_plain", "training"]


def run_job(target: Target, model: str, parts: list[str], repeats: int, threads: int, local: Path) -> dict:
    """One run of the measuring program, whose files are there already."""
    job = {"python": target.launcher, "model": model, "parts": parts, "repeats": repeats, "threads": threads}
    (local / "job.json").write_text(json.dumps(job))
    there = target.push(local / "job.json", "job.json")
    target.run([str(Path(there).with_name("on_target.py")), there, str(Path(there).with_name("result.json"))])
    target.pull("result.json", local / "result.json")
    return json.loads((local / "result.json").read_text())


def push_program(target: Target, models: dict[str, Path]) -> dict[str, str]:
    """The runtime, the program and each model; returns the models' paths from the working folder."""
    what = [(Path(str(files("idletune"))), "idletune"), (PROGRAM, "on_target.py")]
    for name, path in models.items():
        what.append((path, f"{name}/{path.name}"))
    with Progress("copying", len(what)) as bar:
        for number, (local, name) in enumerate(what, start=1):
            target.push(local, name)
            bar(number, name)
    return {name: f"{name}/{path.name}" for name, path in models.items()}


def make_tiny(folder: Path) -> Path:
    """The tiny random model of the tests."""
    sys.path[:0] = [str(ROOT / "tests")]
    from tiny_model import write_tiny_model

    folder.mkdir()
    return write_tiny_model(folder / "tiny.gguf")


def agree(target: Target, there: dict[str, str], models: dict[str, Path], local: Path) -> dict[str, dict]:
    """The same losses here and there: the loop on the tiny model, a few steps of each. DamagedDataError if not."""
    host, found = Host(local / "host"), {}
    here = push_program(host, models)
    for name, parts in (("tiny", ["parity", "loop"]), ("base", ["parity"])):
        facts = [run_job(on, paths[name], parts, 1, 1, local)["facts"] for on, paths in ((host, here), (target, there))]
        for part in parts:
            title = f"{models[name].name}, {'the whole loop' if part == 'loop' else 'training steps'}"
            found[title] = differences(facts[0][part], facts[1][part])
            print(f"{title}: largest difference {max(row['difference'] for row in found[title].values()):.1e} nats")
            check(found[title])
    return found


def measure(target: Target, base: Path, repeats: int, threads: int) -> dict:
    """Everything about a target, as the result file holds it."""
    target.prepare()
    with tempfile.TemporaryDirectory() as folder:
        local, models = Path(folder), {"base": base}
        if target.emulated:
            models["tiny"] = make_tiny(local / "tiny")
        there, name = push_program(target, models), "tiny" if target.emulated else "base"
        before = target.describe()
        with target.quiet():
            raw = run_job(target, there[name], MEASURED, repeats, threads, local)
            parity = agree(target, there, models, local) if target.emulated else {}
        outside = {"before": before, "after": target.describe()}
    about, measures = machine(), raw["measures"].items()
    return {
        "target": target.name,
        "emulated": target.emulated,
        "model": models[name].name,
        "threads": threads,
        "commit": about["commit"],
        "date": about["date"],
        "environment": raw["environment"],
        "outside": outside,
        "device_before": raw["device_before"],
        "device_after": raw["device_after"],
        "measures": {name: {"unit": row["unit"], **summarize(row["values"], row["unit"])} for name, row in measures},
        "peak_mb": raw["peak_mb"],
        "facts": raw["facts"],
        "parity": parity,
    }


def write(result: dict) -> None:
    RESULTS.mkdir(exist_ok=True)
    place = RESULTS / f"latency-{result['target']}"
    place.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    place.with_suffix(".md").write_text(markdown(result))
    draw(result, place.with_suffix(".png"))
    print(markdown(result))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", default="host")
    parser.add_argument("--repeats", type=int, default=FEWEST)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("A", "B"))
    asked = parser.parse_args(arguments)
    try:
        if asked.compare:
            ratios = compare(*(json.loads(path.read_text()) for path in asked.compare))
            print("\n".join(f"{name:32} {ratio:6.2f}x" for name, ratio in ratios.items()))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            target = make_target(asked.target, Path(folder))
            _check(asked, target)
            command = f"make bench-latency TARGET={asked.target} REPEATS={asked.repeats} THREADS={asked.threads}"
            write({**measure(target, asked.model.resolve(), asked.repeats, asked.threads), "command": command})
        return 0
    except IdleTuneError as error:
        print(f"latency: {error}", file=sys.stderr)
        return 2


def _check(asked, target: Target) -> None:
    if not asked.model.is_file():
        raise UsageError(f"no base model at {asked.model}; run make model, or name one in IDLETUNE_MODEL")
    if asked.repeats < 1 or asked.repeats < FEWEST and target.name == "host":
        raise UsageError(f"{asked.repeats} repeats; a figure needs {FEWEST}, only emulated targets may do with fewer")


if __name__ == "__main__":
    sys.exit(main())
