"""Does selection pay, and does synthesis? The paper's comparison on real conversations, with its controls.

Run: make bench-selection, or python benchmarks/selection_quality.py [--quick] [--minutes N] [--data FOLDER]
Each cell (stream, policy, bins, paraphrases, seed) is a line in results/selection_cells.jsonl once it is done: an
interrupted run goes on where it stood, and the table is of what is there. --quick takes under 15 minutes on
2 cores, everything about 8 hours.
"""

import argparse
import json
import os
import time
from itertools import product
from pathlib import Path

from common import RESULTS, make_layers, write_results
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from idletune.settings import Settings
from selection.cells import FIFTHS, LONGEST, Bench, Cell
from selection.gains import BASELINES, compare, curves, overall, recipes, summarize, whole
from selection.pictures import draw, draw_curves
from selection.streams import DATA, FEW, STREAMS, load_stream
from selection.tables import comparison, curve_table, overall_table, recipe_table, table

OURS = Settings().policy
HEADLINE = (OURS, *BASELINES)
OTHERS = ("diverse", "all_data", "eoe", "dss", "idd")
CURVES = (OURS, "random")  # policies whose gain is followed along the stream
RECIPES = (  # other ways to train
    "learn_questions=true", "targets=q,k,v,o", "targets=q,k,v,o,gate,up,down learning_rate=0.0005",
)
LENGTH, SEEDS, BINS = 200, 5, 32
CELLS = RESULTS / "selection_cells.jsonl"


def quick_cells() -> list[Cell]:
    """One user, the policies side by side."""
    policies = (OURS, "all_three", "random", "k_center", "keep_first", "all_data")
    return [Cell("ubuntu_irc/irc_04", policy, BINS, 0, 0, measures_more=True) for policy in policies]


def all_cells() -> list[Cell]:
    """The grid, the most telling part first: every data set, users, recipes, seeds, synthesis; then policies, sizes."""
    users = [stream for stream in STREAMS if stream not in FEW]
    first = [Cell(s, p, BINS, 0, 0, measures_more=True) for p, s in product(HEADLINE, FEW)]
    synthesis = [Cell(s, p, BINS, k, 0) for k, s, p in product((3, 1, 6), FEW, (OURS, "random"))]
    curves = [Cell(s, p, BINS, 0, 0, fifths=n) for s, p, n in product(FEW, CURVES, range(1, FIFTHS))]
    more_users = [Cell(s, p, BINS, 0, 0, measures_more=True) for p, s in product(HEADLINE, users)]
    more_seeds = [Cell(s, p, BINS, 0, n, measures_more=True) for n, p, s in product(range(1, SEEDS), HEADLINE, FEW)]
    others = [Cell(s, p, BINS, 0, 0, measures_more=True) for p, s in product(OTHERS, FEW)]
    others += [Cell(s, "all_three", BINS, 0, 0, "histogram", measures_more=True) for s in FEW]
    recipes = [Cell(s, OURS, BINS, 0, 0, measures_more=True, changed=r) for r, s in product(RECIPES, FEW)]
    sizes = [Cell(s, p, bins, 0, 0) for bins, s, p in product((16, 64, 128), FEW, (OURS, "random"))]
    rest = [Cell(s, p, BINS, 0, n, measures_more=True) for n, s, p in product(range(1, SEEDS), users, HEADLINE)]
    rest += [Cell(s, p, BINS, 0, n) for n, s, p in product(range(1, SEEDS), STREAMS, OTHERS)]
    second, further = more_seeds[: len(first)], more_seeds[len(first) :]
    headline = first + more_users + recipes + second + synthesis[:10] + further
    return headline + synthesis[10:] + others + curves + sizes + rest


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
    rows, compared, followed = summarize(ended), compare(ended, BINS, OURS), curves(cells, BINS, CURVES)
    trained = recipes(ended, BINS)
    policies = overall(ended, BINS, OURS)
    found = {"compared": compared, "overall": policies, "recipes": trained, "curves": followed, "rows": rows}
    grid = {cell.key for cell in all_cells()}
    done = sum(cell["key"] in grid for cell in cells)  # there may be others, from earlier grids
    write_results("selection", {"cells": done, "of": len(grid), **found})
    along = "The adapter's gain after each fifth of the stream, as many training rows each time:\n\n"
    along = f"{along}{curve_table(followed)}\n\n![the same](selection-curves.png)\n\n" if followed else ""
    together = f"Mean gains over {policies[0]['streams']} streams:\n\n{overall_table(policies)}\n\n" if policies else ""
    beside = "Other settings with the same answers, as many training rows each; the second figure is as it comes:\n\n"
    beside = f"{beside}{recipe_table(trained)}\n\n" if trained else ""
    page = (
        "# Selection and synthesis\n\nMade by `make bench-selection`; nats per token on the held-out fifth.\n\n"
        f"{comparison(compared)}\n\n{together}{beside}{along}{table(rows)}\n"
    )
    (RESULTS / "selection.md").write_text(page, encoding="utf-8")
    draw([row for row in rows if not row["changed"]], RESULTS / "selection.png")
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
