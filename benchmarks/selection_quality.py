"""Does selection pay, and does synthesis? The paper's comparison on real conversations, with its controls.

Run: make bench-selection, or python benchmarks/selection_quality.py [--quick] [--minutes N] [--data FOLDER]
Each cell (stream, policy, bins, paraphrases, seed) is a line in results/selection_cells.jsonl once it is done: an
interrupted run goes on where it stood, and the table is of what is there. --quick takes under 15 minutes on
2 cores, everything about 9 hours.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from common import RESULTS, make_layers, write_results
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from idletune.settings import Settings
from selection.cells import FIFTHS, LONGEST, Bench, Cell
from selection.gains import BASELINES, USUAL, compare, curves, overall, recipes, summarize, whole
from selection.pictures import draw, draw_curves
from selection.streams import DATA, FEW, STREAMS, load_stream
from selection.tables import comparison, curve_table, overall_table, recipe_table, table

OURS = Settings().policy
OTHERS = ("diverse", "all_data", "eoe", "dss", "idd")
RECIPES = ("targets=q,k,v,o", "targets=q,k,v,o,gate,up,down learning_rate=0.0005", "retrieve_tokens=400")
LENGTH, SEEDS, BINS = 200, 5, 32
CELLS = RESULTS / "selection_cells.jsonl"


def cell(stream: str, policy: str, seed: int = 0, *, bins: int = BINS, paraphrases: int = 0, **more) -> Cell:
    """The product as it comes, or another policy with the usual training."""
    return Cell(stream, policy, bins, paraphrases, seed, **{"changed": "" if policy == OURS else USUAL, **more})


def headline(streams: Sequence[str], seed: int) -> list[Cell]:
    """The product as it comes; all policies with the usual training."""
    ours = [cell(s, OURS, seed, measures_more=True) for s in streams]
    return ours + [cell(s, p, seed, measures_more=True, changed=USUAL) for p, s in product((OURS, *BASELINES), streams)]


def quick_cells() -> list[Cell]:
    """One user, the policies side by side."""
    return headline(FEW[:1], 0)


def all_cells() -> list[Cell]:
    """The grid, the most telling part first: every data set, synthesis, users one by one, other settings, further
    seeds; then policies and sizes."""
    users = [stream for stream in STREAMS if stream not in FEW]
    both = (OURS, "random")  # one after the other: each change of settings makes the layers anew
    synthesis = [cell(s, p, paraphrases=k) for k, p, s in product((3, 1, 6), both, FEW)]
    recipes = [cell(s, OURS, measures_more=True, changed=r) for r, s in product(RECIPES, FEW)]
    others = [cell(s, p, measures_more=True) for p, s in product(OTHERS, FEW)]
    others += [cell(s, "all_three", eoe_reading="histogram", measures_more=True) for s in FEW]
    curves = [cell(s, p, fifths=n) for p, s, n in product(both, FEW, range(1, FIFTHS))]
    sizes = [cell(s, p, bins=bins) for bins, p, s in product((16, 64, 128), both, FEW)]
    first = headline(FEW, 0) + synthesis[: len(FEW)] + [found for user in users for found in headline([user], 0)]
    first += recipes
    seeds = [found for n in range(1, SEEDS) for found in headline(FEW, n)]
    rest = [found for n in range(1, SEEDS) for found in headline(users, n)]
    rest += [cell(s, p, n) for n, s, p in product(range(1, SEEDS), FEW, OTHERS)]
    return first + seeds + synthesis[len(FEW) :] + others + curves + sizes + rest


def done_cells() -> dict[str, dict]:
    """Results by the cell's key."""
    if not CELLS.is_file():
        return {}
    lines = CELLS.read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines if line.endswith("}")]  # a kill may have cut the last line
    return {cell["key"]: cell for cell in found}


def run(cells: list[Cell], model_path: Path, data: Path, threads: int, seconds: float) -> None:
    """Run those of the cells that are not done, for about so many seconds."""
    start, done = time.monotonic(), done_cells()
    todo = [cell for cell in cells if cell.key not in done]
    RESULTS.mkdir(exist_ok=True)
    with BaseModel(model_path, context_tokens=1024, sequences=8, threads=threads) as model:
        probe_text = (Path(__file__).parents[1] / "device" / "data" / "general_probe.txt").read_text(encoding="utf-8")
        probe = [model.encode_text(part, longest=96) for part in probe_text.split("\n\n") if part.strip()]
        bench, streams = Bench(model, lambda s: make_layers(model_path, LONGEST, 1500, threads, s)[0], probe), {}
        with Progress("cells", len(todo)) as bar, open(CELLS, "a", encoding="utf-8") as out:
            for number, cell in enumerate(todo):
                if time.monotonic() - start > seconds:
                    break
                if cell.stream not in streams:
                    streams[cell.stream] = load_stream(cell.stream, LENGTH, model, Progress, data)
                bar(number, cell.key)
                out.write(json.dumps({"key": cell.key, **bench.run(cell, streams[cell.stream])}) + "\n")
                out.flush()


def report(cells: list[dict]) -> None:
    """Write the table, the picture and the figures of the cells there are."""
    ended = whole(cells)
    rows, compared, followed = summarize(ended), compare(ended, BINS, OURS), curves(cells, BINS, OURS)
    trained = recipes(ended, BINS)
    policies = overall(ended, BINS, OURS)
    found = {"compared": compared, "overall": policies, "recipes": trained, "curves": followed, "rows": rows}
    grid = {cell.key for cell in all_cells()}
    done = sum(cell["key"] in grid for cell in cells)  # there may be others, from earlier grids
    write_results("selection", {"cells": done, "of": len(grid), **found})
    along = "The adapter's gain after each fifth of the stream, as many training rows each time:\n\n"
    along = f"{along}{curve_table(followed)}\n\n![the same](selection-curves.png)\n\n" if followed else ""
    together = ""
    if policies:
        over = f"Mean gains over {policies[0]['streams']} streams, all but the last with the usual training"
        together = f"{over}:\n\n{overall_table(policies)}\n\n"
    beside = "Other settings with the same answers, as many training rows each; the second figure is as it comes:\n\n"
    beside = f"{beside}{recipe_table(trained)}\n\n" if trained else ""
    page = (
        "# Selection and synthesis\n\nMade by `make bench-selection`; nats per token on the held-out fifth.\n\n"
        f"{comparison(compared)}\n\n{together}{beside}{along}{table(rows)}\n"
    )
    (RESULTS / "selection.md").write_text(page, encoding="utf-8")
    draw([row for row in rows if row["changed"] in ("", USUAL)], RESULTS / "selection.png")
    if followed:
        draw_curves(followed, RESULTS / "selection-curves.png")
    print(page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one user, six policies, one seed")
    parser.add_argument("--minutes", type=float, default=8 * 60, help="stop after the cell that is running then")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--share", default="1/1", help="K/N: every N-th cell from the K-th on, beside other processes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    first, step = map(int, arguments.share.split("/"))
    cells = (quick_cells() if arguments.quick else all_cells())[first - 1 :: step]
    run(cells, arguments.model, arguments.data, arguments.threads, 60 * arguments.minutes)
    report(list(done_cells().values()))


if __name__ == "__main__":
    main()
