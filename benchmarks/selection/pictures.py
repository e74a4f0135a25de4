"""Gains as pictures."""

from collections.abc import Sequence
from pathlib import Path

from .gains import label_of


def draw(rows: list[dict], path: Path, columns: int = 5) -> None:
    """The gains of each stream as points with their intervals; rings where retrieval was there as well."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    streams = sorted({(r["stream"], r["bins"]) for r in rows})
    methods = sorted({r["method"] for r in rows}, reverse=True)
    sizes = {bins for _, bins in streams}
    columns, lines = min(columns, len(streams)), -(-len(streams) // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(2.5 + 2.2 * columns, lines * (1 + 0.35 * len(methods))), sharey=True, squeeze=False,
        layout="constrained",
    )
    for axes, (stream, bins) in zip(grid.flat, streams):
        for r in (r for r in rows if (r["stream"], r["bins"]) == (stream, bins)):
            at = methods.index(r["method"])
            axes.plot([r["low"], r["high"]], [at, at], color="tab:blue")
            axes.plot(r["gain"], at, "o", color="tab:blue", label="adapter")
            if "retrieval_adapted" in r:
                axes.plot(r["retrieval_adapted"], at, "o", mfc="none", color="tab:orange", label="with retrieval")
        axes.axvline(0, color="0.7", linewidth=1)
        size = f"\n{bins} bins" if len(sizes) > 1 else ""
        axes.set(title=stream.strip("/") + size, xlabel="nats per token")
    for unused in grid.flat[len(streams) :]:
        unused.remove()
    grid[0][0].set_yticks(range(len(methods)), methods)
    _add_legend(figure, grid.flat)
    figure.suptitle("held-out loss below the untouched base, 95 % intervals")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_series(followed: list[dict], values: Sequence[int], name: str, path: Path) -> None:
    """A small picture for each stream: the adapter's gain at each value of what `name` says, a line a policy."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    streams, policies = (sorted({curve[name] for curve in followed}) for name in ("stream", "policy"))
    figure, grid = pyplot.subplots(
        1, len(streams), figsize=(2 + 2.4 * len(streams), 3), squeeze=False, layout="constrained"
    )
    for axes, stream in zip(grid.flat, streams):
        there = [curve for curve in followed if curve["stream"] == stream]
        for curve in there:
            color = f"C{policies.index(curve['policy'])}"
            axes.plot(range(len(values)), curve["gains"], "o-", color=color, label=label_of(curve["policy"]))
        axes.set(title=stream.strip("/"), xlabel=name, xticks=range(len(values)), xticklabels=values)
        axes.set_ylim(0, 1.1 * max(max(curve["gains"]) for curve in there))
    grid[0][0].set_ylabel("nats per token")
    _add_legend(figure, grid.flat)
    figure.suptitle("held-out loss below the untouched base")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _add_legend(figure, all_axes) -> None:
    """One for all the small pictures, each name once."""
    found = {}
    for axes in all_axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles))
    figure.legend(found.values(), found, loc="outside lower center", ncols=3, frameon=False)
