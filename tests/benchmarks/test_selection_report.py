"""The page of the selection benchmark, from cells of known gains."""

from made_cells import cell

from benchmarks.selection.report import figures, page, pictures


def test_the_page_tells_what_there_are_cells_for(tmp_path):
    both = [cell(policy, 0.3, 0.1) for policy in ("recent_diverse", "random")]
    found = figures(both)
    assert "fifths of the stream" not in page(found) and "Other settings" not in page(found)
    followed = [{**cell("random", 0.1 * n), "fifths": n} for n in range(1, 5)]
    found = figures([*both, *followed, {**cell("recent_diverse", 0.4, 0.1), "changed": "rank=8"}])
    assert "fifths of the stream" in page(found) and "| dolly | rank=8 |" in page(found)
    pictures(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"selection.png", "selection-fifths.png"}
