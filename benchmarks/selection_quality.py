"""Does selection pay, and does synthesis? The paper's comparison on real conversations, with its controls.

Run: make bench-selection, or python benchmarks/selection_quality.py [--quick] [--minutes N] [--data FOLDER]
Each cell (stream, policy, bins, paraphrases, seed) is a line in results/selection_cells.jsonl once it is done: an
interrupted run goes on where it stood, and the table is of what is there. On 2 cores --quick takes 5 minutes
once its stream's replies are cached. The first 665 of 754 cells, all but short ones, took 14.5 hours of processes
with a thread each, two of them side by side (--share, --threads) and at times beside other work.
"""

import argparse
import json
import os
import time
from importlib.resources import files
from pathlib import Path

from common import RESULTS, done_lines, end_last_line, machine, make_layers, write_results
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from selection.cells import LONGEST, Bench, Cell
from selection.grid import all_cells, quick_cells, shared
from selection.report import figures, page, pictures
from selection.streams import DATA, load_stream

LENGTH = 200
CELLS = RESULTS / "selection_cells.jsonl"


def done_cells() -> dict[str, dict]:
    """Results by the cell's key."""
    return {cell["key"]: cell for cell in done_lines(CELLS)}


def run(cells: list[Cell], model_path: Path, data: Path, threads: int, seconds: float) -> None:
    """Run those of the cells that are not done, for about so many seconds."""
    start, done, commit = time.monotonic(), done_cells(), machine()["commit"]
    todo = [cell for cell in cells if cell.key not in done]
    RESULTS.mkdir(exist_ok=True)
    end_last_line(CELLS)
    with BaseModel(model_path, context_tokens=1024, sequences=8, threads=threads) as model:
        probe_text = (files("idletune") / "data" / "general_probe.txt").read_text(encoding="utf-8")
        probe = [model.encode_text(part, max_tokens=96) for part in probe_text.split("\n\n") if part.strip()]
        bench, streams = Bench(model, lambda s: make_layers(model_path, LONGEST, 1500, threads, s)[0], probe), {}
        with Progress("cells", len(todo)) as bar, open(CELLS, "a", encoding="utf-8") as out:
            for number, cell in enumerate(todo):
                if time.monotonic() - start > seconds:
                    break
                if cell.stream not in streams:
                    streams[cell.stream] = load_stream(cell.stream, LENGTH, model, Progress, data)
                bar(number, cell.key)
                found = {"key": cell.key, "commit": commit, **bench.run(cell, streams[cell.stream])}
                out.write(json.dumps(found) + "\n")
                out.flush()


def report(cells: list[dict]) -> None:
    """Write the tables, the pictures and the figures of the cells there are."""
    grid = {cell.key for cell in all_cells()}
    done = sum(cell["key"] in grid for cell in cells)  # there may be others, from earlier grids
    found = {"cells": done, "of": len(grid), **figures(cells)}
    write_results("selection", found)
    text = page(found)
    (RESULTS / "selection.md").write_text(text, encoding="utf-8")
    pictures(found, RESULTS)
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one user, six policies, one seed")
    parser.add_argument("--minutes", type=float, default=8 * 60, help="stop after the cell that is running then")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--share", default="1/1", help="K/N: the K-th of N parts, beside other processes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    share, of = map(int, arguments.share.split("/"))
    cells = shared(quick_cells() if arguments.quick else all_cells(), share, of)
    run(cells, arguments.model, arguments.data, arguments.threads, 60 * arguments.minutes)
    report(list(done_cells().values()))


if __name__ == "__main__":
    main()
