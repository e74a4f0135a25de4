"""The grid of the selection benchmark."""

from benchmarks.selection.gains import BASELINES, USUAL
from benchmarks.selection.grid import all_cells, shared
from benchmarks.selection.streams import FRESH, STREAMS


def test_the_grid_names_each_cell_once_and_parts_of_it_are_the_whole():
    cells = all_cells()
    assert len({cell.key for cell in cells}) == len(cells)
    parts = [shared(cells, share, 3) for share in (1, 2, 3)]
    assert sorted(cell.key for part in parts for cell in part) == sorted(cell.key for cell in cells)


def test_every_policy_has_five_seeds_on_every_stream():
    cells = [cell for cell in all_cells() if cell.measures_more and cell.changed in ("", USUAL)]
    runs = {(cell.stream, cell.policy, cell.seed) for cell in cells}
    assert {(s, p, n) for s in STREAMS for p in ("recent_diverse", *BASELINES) for n in range(5)} <= runs
    assert {(s, p, 0) for s in FRESH for p in ("recent_diverse", *BASELINES)} <= runs
