"""The picture of a replay: how the buffer filled, and how the loss fell."""

from pathlib import Path
from typing import Any

from ..figure import save_figure
from ..replay import ReplayReport


def draw(report: ReplayReport, path: Path) -> bool:
    """Write a PNG (or SVG, by the name's ending); False where matplotlib is not installed."""

    def both(axes: Any) -> None:
        _draw_buffer(axes[0], report)
        _draw_loss(axes[1], report)

    return save_figure(path, both, columns=2, figsize=(11, 4))


def _draw_buffer(axes: Any, report: ReplayReport) -> None:
    seen, kept, replaced = zip(*report.played.fill)
    axes.step(seen, kept, where="post", label="in the buffer")
    axes.step(seen, replaced, where="post", linestyle="--", label="evicted so far")
    axes.axhline(report.settings["buffer_capacity"], color="0.6", linewidth=1, label="capacity")
    axes.set(
        xlabel="exchanges seen",
        ylabel="dialogue sets",
        title=f"{report.played.asked} of {report.played.seen} asked about",
    )
    axes.legend()


def _draw_loss(axes: Any, report: ReplayReport) -> None:
    losses = report.learned.losses
    axes.plot(range(1, len(losses) + 1), losses, alpha=0.6, label="packed sequences")
    for measure, label, style in ((report.base, "base", ":"), (report.adapted, "adapted", "-")):
        axes.axhline(measure.nll_llama_cpp, color="tab:red", linestyle=style, label=f"held out, {label}")
    axes.set(xlabel="step", ylabel="nats per token", title="loss", ylim=(0, None))
    axes.legend()
