"""All figures of the cells there are, as one page with its pictures."""

from pathlib import Path

from .gains import FIFTHS, USUAL, ceiling, compare, overall, recipes, series, summarize, whole
from .grid import BINS, OURS, PARAPHRASES, SIZES
from .pictures import draw, draw_series
from .tables import ceiling_table, comparison, overall_table, recipe_table, series_table, table

# a cell's field: (its values, what they are)
SERIES = {
    "fifths": (range(1, FIFTHS + 1), "fifths of the stream seen"),
    "bins": (SIZES, "answers the buffer holds"),
    "paraphrases": (PARAPHRASES, "paraphrases of an answer"),
}


def figures(cells: list[dict]) -> dict:
    """Everything that the page tells, ready for JSON."""
    ended = whole(cells)
    return {
        "compared": compare(ended, BINS, OURS), "overall": overall(ended, BINS, OURS), "recipes": recipes(ended, BINS),
        "ceiling": ceiling(ended, BINS, OURS),
        "series": {along: series(cells, along, values, BINS, OURS) for along, (values, _) in SERIES.items()},
        "rows": summarize(ended),
    }


def page(found: dict) -> str:
    """Markdown; what no cells are there for is left out."""
    parts = [
        "# Selection and synthesis", "Made by `make bench-selection`; nats per token on the held-out fifth.",
        comparison(found["compared"]),
    ]
    if policies := found["overall"]:
        over = f"Mean gains over {policies[0]['streams']} streams, all but the last with the usual training:"
        parts += [over, overall_table(policies)]
    if found["ceiling"]:
        parts += [
            "All exchanges answered, with retrieval and as many training rows, beside our buffer on the same seeds:",
            ceiling_table(found["ceiling"]),
        ]
    if found["recipes"]:
        parts += [
            "Other settings with the same answers, as many training rows each; the second figure is as it comes:",
            recipe_table(found["recipes"]),
        ]
    for along, (values, name) in SERIES.items():
        if followed := found["series"][along]:
            parts += [f"The adapter's gain by {name}, first seed:", series_table(followed, values)]
            parts += [f"![the same](selection-{along}.png)"]
    return "\n\n".join([*parts, "All of them:", table(found["rows"])]) + "\n"


def pictures(found: dict, folder: Path) -> None:
    """The policies side by side, and what grows along a series."""
    at_the_same_size = [row for row in found["rows"] if row["bins"] == BINS and not row["paraphrases"]]
    draw([row for row in at_the_same_size if row["changed"] in ("", USUAL)], folder / "selection.png")
    for along, (values, name) in SERIES.items():
        if followed := found["series"][along]:
            draw_series(followed, values, name, folder / f"selection-{along}.png")
