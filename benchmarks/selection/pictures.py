"""Gains as pictures."""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from .gains import label_of

BARS = {"best_gain": "best other adapter", "adapter": "our adapter", "retrieval": "our retrieval", "ours": "both"}


@contextmanager
def panels(path: Path, title: str, rows: int, columns: int, **options):
    """Panels (rows, columns) of a figure that is written to `path` with one legend for all; `options` are
    matplotlib's."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(rows, columns, squeeze=False, layout="constrained", **options)
    try:
        yield grid
        _add_legend(figure, grid.flat)
        figure.suptitle(title)
        figure.savefig(path, dpi=110)
    finally:
        pyplot.close(figure)


def _add_legend(figure, all_axes) -> None:
    """Each name once."""
    found = {}
    for axes in all_axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles))
    figure.legend(found.values(), found, loc="outside lower center", ncols=4, frameon=False)


def draw_comparison(sides: dict[str, list[dict]], path: Path) -> None:
    """What `compare` found, a panel for each of `sides`: a group of bars for each data set."""
    height = 1.2 + 0.75 * max(map(len, sides.values()))
    with panels(
        path, "held-out loss below the untouched base, nats per token", 1, len(sides), figsize=(6 * len(sides), height)
    ) as grid:
        for axes, (name, rows) in zip(grid.flat, sides.items()):
            for number, (key, what) in enumerate(BARS.items()):
                places = [place + 0.2 * number for place in range(len(rows))]
                axes.barh(places, [row[key] for row in rows], 0.18, color=f"C{number}", label=what)
            for place, row in enumerate(rows):
                axes.text(row["best_gain"], place, f" {label_of(row['best'])}", va="center", fontsize="small")
            axes.set_yticks([place + 0.3 for place in range(len(rows))], [row["data"] for row in rows])
            axes.set(title=name)
            axes.invert_yaxis()


def draw_streams(rows: list[dict], path: Path, columns: int = 5) -> None:
    """The gains of each stream as points with their intervals; rings where retrieval was there as well.

    Streams with the most methods come first, and a line of small pictures has the methods of its own streams.
    """
    streams = sorted({r["stream"] for r in rows}, key=lambda name: (-sum(r["stream"] == name for r in rows), name))
    lines = [streams[i : i + columns] for i in range(0, len(streams), columns)]
    methods = [sorted({r["method"] for r in rows if r["stream"] in line}, reverse=True) for line in lines]
    heights = [1 + 0.35 * len(names) for names in methods]
    with panels(
        path,
        "held-out loss below the untouched base, 95 % intervals",
        len(lines),
        len(lines[0]),
        figsize=(2.5 + 2.2 * len(lines[0]), sum(heights)),
        height_ratios=heights,
        sharey="row",
    ) as grid:
        for places, line, names in zip(grid, lines, methods):
            for axes, stream in zip(places, line):
                _draw_stream(axes, [r for r in rows if r["stream"] == stream], names)
                axes.set(title=stream.strip("/"), xlabel="nats per token")
            for unused in places[len(line) :]:
                unused.remove()
            places[0].set_yticks(range(len(names)), names)


def _draw_stream(axes, rows: list[dict], methods: list[str]) -> None:
    for r in rows:
        at = methods.index(r["method"])
        axes.plot([r["low"], r["high"]], [at, at], color="tab:blue")
        axes.plot(r["gain"], at, "o", color="tab:blue", label="adapter")
        if "both" in r:
            axes.plot([r["both_low"], r["both_high"]], [at - 0.25] * 2, color="tab:orange", linewidth=1)
            axes.plot(r["both"], at - 0.25, "o", mfc="white", color="tab:orange", label="with retrieval")
    axes.axvline(0, color="0.7", linewidth=1)


def draw_series(followed: list[dict], values: Sequence[int], name: str, path: Path) -> None:
    """A small picture for each stream: the adapter's gain at each value of what `name` says, a line a method."""
    streams, methods = (sorted({curve[name] for curve in followed}) for name in ("stream", "method"))
    with panels(
        path, "held-out loss below the untouched base", 1, len(streams), figsize=(2 + 2.4 * len(streams), 3)
    ) as grid:
        for axes, stream in zip(grid.flat, streams):
            there = [curve for curve in followed if curve["stream"] == stream]
            for curve in there:
                color = f"C{methods.index(curve['method'])}"
                axes.plot(range(len(values)), curve["gains"], "o-", color=color, label=curve["method"])
            axes.set(title=stream.strip("/"), xlabel=name, xticks=range(len(values)), xticklabels=values)
            axes.set_ylim(0, 1.1 * max(max(curve["gains"]) for curve in there))
        grid[0][0].set_ylabel("nats per token")
