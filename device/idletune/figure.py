"""Pictures in files, where matplotlib is installed."""

from collections.abc import Callable
from pathlib import Path

from .errors import UsageError


def save_figure(path: Path, draw: Callable, rows: int = 1, columns: int = 1, **options) -> bool:
    """Let `draw(axes)` fill a figure of rows x columns panels and write it as PNG (or SVG, by the name's ending).

    `options` are matplotlib's for the figure. False where matplotlib is not installed; UsageError for a place that
    cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, layout="constrained", **options)
    draw(axes)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); name another file") from None
    finally:
        pyplot.close(figure)
    return True
