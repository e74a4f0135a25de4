"""The picture of a simulated month: one row a day from noon to noon, and the battery beneath."""

from datetime import datetime
from pathlib import Path

from ..figure import save_figure
from .simulation import START, Simulated

DAY, HOUR = 86400.0, 3600.0


def draw_timeline(result: Simulated, path: Path) -> bool:
    """Write a PNG (or SVG, by the name's ending); False where matplotlib is not installed."""

    def both(axes):
        _draw_days(axes[0], result)
        _draw_battery(axes[1], result)

    height = 2.5 + 0.16 * result.days
    return save_figure(path, both, rows=2, figsize=(11, height + 2), height_ratios=(height, 2))


def _draw_days(axes, result: Simulated) -> None:
    for spans, color, size, label in (
        (result.charging, "#dddddd", 0.9, "on the charger"),
        (result.windows, "#9fc9e8", 0.9, "window permitted"),
        ([(s.start, s.end) for s in result.slices], "#1f4e79", 0.6, "slice of learning"),
    ):
        pieces = [piece for span in spans for piece in _rows(*span)]
        if pieces:
            rows, starts, lengths = zip(*pieces)
            axes.barh(rows, lengths, left=starts, height=size, color=color, label=label)
    for times, marker, color, label in (
        (result.asked, "|", "tab:orange", "question asked"),
        (result.promoted, "*", "tab:green", "adapter promoted"),
        (result.rejected, "x", "tab:red", "adapter rejected"),
    ):
        places = [_place(at) for at in times]
        axes.scatter(
            [hour for _, hour in places],
            [row for row, _ in places],
            marker=marker,
            color=color,
            label=label,
            s=45,
            zorder=3,
        )
    axes.set(xlim=(0, 24), ylim=(result.days - 0.5, -0.5), ylabel="day", xticks=range(0, 25, 3))
    axes.set_yticks(range(0, result.days, max(1, result.days // 10)))
    axes.set_xticklabels([f"{(12 + hour) % 24}:00" for hour in range(0, 25, 3)])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=6, fontsize=8, frameon=False)


def _draw_battery(axes, result: Simulated) -> None:
    times, percent, warmth = zip(*result.battery)
    days = [(at - START.timestamp()) / DAY for at in times]
    axes.plot(days, percent, linewidth=0.8, color="tab:gray")
    axes.set(xlim=(0, result.days), ylim=(0, 105), xlabel="day", ylabel="battery, %")
    right = axes.twinx()
    right.plot(days, warmth, linewidth=0.8, color="tab:red")
    right.set_ylabel("battery, degrees C", color="tab:red")


def _rows(start: float, end: float):
    """A span as (row, first hour, hours) on the rows of the days it touches."""
    while start <= end:
        row, hour = _place(start)
        length = min((end - start) / HOUR, 24 - hour)
        yield row, hour, max(length, 1 / 60)
        start += max(length, 1 / 60) * HOUR


def _place(at: float) -> tuple[int, float]:
    """Row and hour, both counted from noon by the local clock."""
    moment = datetime.fromtimestamp(at)
    row = (datetime.fromtimestamp(at - 12 * HOUR).date() - START.date()).days
    return row, (moment.hour - 12) % 24 + moment.minute / 60 + moment.second / 3600
