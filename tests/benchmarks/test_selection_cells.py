"""Cells of the selection benchmark: each has a key of its own, and the settings it says."""

from benchmarks.selection.cells import Cell


def test_what_differs_shows_in_the_key():
    cells = [
        Cell("dolly/", "random", 32, 0, 0), Cell("dolly/", "random", 32, 0, 1), Cell("dolly/", "random", 32, 3, 0),
        Cell("dolly/", "random", 32, 0, 0, fifths=2), Cell("dolly/", "random", 32, 0, 0, changed="rank=8"),
        Cell("dolly/", "random", 32, 0, 0, fifths=2, changed="rank=8"),
    ]
    assert len({cell.key for cell in cells}) == len(cells)


def test_changed_settings_reach_the_product():
    settings = Cell("dolly/", "all_three", 32, 3, 1, changed="targets=q,v rank=8").settings
    assert (settings.targets, settings.rank, settings.paraphrases, settings.seed) == ("q,v", 8, 3, 1)
