"""All figures of the cells there are, as one page with its pictures."""

from pathlib import Path

from .gains import FIFTHS, USUAL, ceiling, compare, overall, recipes, series, summarize, whole
from .grid import BINS, OURS, PARAPHRASES, SIZES
from .pictures import draw_comparison, draw_series, draw_streams
from .streams import FRESH
from .tables import ceiling_table, comparison, overall_table, recipe_table, series_table, table

LEGEND = """Made by `make bench-selection`. A *stream* is up to 200 exchanges in source order, of one user where the
data set tells users apart (ubuntu irc). Four fifths pass through the product's buffer of so many *bins*, beside the
base model's own replies, and some that it kept are *replaced*; the exchanges it keeps at the end are answered
(*asked*) with the real responses, and an adapter is trained on them, on so many *tokens* in so many seconds (*s*; runs
shared the machine). A *gain* is by how many nats per token the loss on the last fifth's responses falls below
the untouched base's: with the adapter, with *retrieval* (the nearest kept answers before the question) or with
*both*. *As it comes* is the product with all its settings; a policy's bare name stands for the usual training, on
answers alone, in as many rows. The *best baseline* is the policy, chosen afterwards by its gain, whose adapter does
best. Intervals are of a paired bootstrap that draws streams, seeds and exchanges anew (one stream or one seed leaves
nothing to draw there); differences are over the runs, a stream and a seed, that both sides have. *General loss* is by
how much the adapter raises the loss on general text. Every run's figures are in `selection_cells.jsonl`."""

# a cell's field: (its values, what they are)
SERIES = {
    "fifths": (range(1, FIFTHS + 1), "fifths of the stream seen"),
    "bins": (SIZES, "answers the buffer holds"),
    "paraphrases": (PARAPHRASES, "paraphrases of an answer"),
}


def figures(cells: list[dict]) -> dict:
    """Everything that the page tells, ready for JSON."""
    ended = whole(cells)
    fresh = [cell for cell in ended if cell["stream"] in FRESH]
    known = [cell for cell in ended if cell["stream"] not in FRESH]
    return {
        "compared": compare(known, BINS, OURS),
        "overall": overall(known, BINS, OURS),
        "fresh_compared": compare(fresh, BINS, OURS),
        "fresh_overall": overall(fresh, BINS, OURS),
        "recipes": recipes(known, BINS, OURS),
        "ceiling": ceiling(known, BINS, OURS),
        "series": {along: series(cells, along, values, BINS, OURS) for along, (values, _) in SERIES.items()},
        "rows": summarize(ended),
    }


def page(found: dict) -> str:
    """Markdown; what no cells are there for is left out."""
    parts = ["# Selection and synthesis", LEGEND, "![the product beside the best others](selection-compared.png)"]
    parts += [comparison(found["compared"])]
    if found["fresh_compared"]:
        parts += ["## Streams that no setting was chosen on", comparison(found["fresh_compared"])]
    for key, where in (("overall", ""), ("fresh_overall", ", on streams that no setting was chosen on")):
        if policies := found[key]:
            over = f"Mean over {policies[0]['streams']} streams, all but the last with the usual training:"
            parts += [f"## Each policy{where}", over, overall_table(policies)]
    if found["ceiling"]:
        parts += [
            "## All exchanges answered",
            "Beside our buffer, on the same seeds and with the same training, after as "
            "many training rows or after as many passes over what there is:",
            ceiling_table(found["ceiling"]),
        ]
    if found["recipes"]:
        parts += [
            "## Other settings",
            "With the same answers, as many training rows each, beside the product as it comes:",
            recipe_table(found["recipes"]),
        ]
    for along, (values, name) in SERIES.items():
        if followed := found["series"][along]:
            parts += [f"## By {name}", "The adapter's gain, first seed:", series_table(followed, values)]
            parts += [f"![the same](selection-{along}.png)"]
    parts += ["## All of them", "![all policies on all streams](selection.png)", table(found["rows"])]
    return "\n\n".join(parts) + "\n"


def pictures(found: dict, folder: Path) -> None:
    """The product beside the best others, all policies on all streams, and what grows along a series."""
    sides = {
        "exchanges that settings were chosen on": found["compared"],
        "exchanges first looked at later": found["fresh_compared"],
    }
    draw_comparison({name: rows for name, rows in sides.items() if rows}, folder / "selection-compared.png")
    at_the_same_size = [row for row in found["rows"] if row["bins"] == BINS and not row["paraphrases"]]
    draw_streams([row for row in at_the_same_size if row["changed"] in ("", USUAL)], folder / "selection.png")
    for along, (values, name) in SERIES.items():
        if followed := found["series"][along]:
            draw_series(followed, values, name, folder / f"selection-{along}.png")
