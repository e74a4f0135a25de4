"""What the selection benchmark makes of its cells, on cells whose gains are known."""

import numpy as np
import pytest
from made_cells import cell

from benchmarks.selection import gains
from benchmarks.selection.gains import USUAL, ceiling, compare, label, overall, recipes, series, summarize, whole
from benchmarks.selection.pictures import draw_series, draw_streams
from benchmarks.selection.tables import ceiling_table, comparison, overall_table, recipe_table, series_table, table

pytestmark = pytest.mark.slow


def test_a_row_tells_the_gain_its_interval_and_the_difference():
    cells = [cell("recent_diverse", 0.5, seed=s) for s in range(3)] + [cell("random", 0.2, seed=s) for s in range(3)]
    ours, random = summarize(cells)
    assert (ours["method"], ours["seeds"]) == ("ours (recent, diverse), as it comes", 3)
    assert ours["gain"] == pytest.approx(0.5, abs=0.01) and ours["low"] <= ours["gain"] <= ours["high"]
    assert ours["over"] == pytest.approx(0.3, abs=1e-9) and ours["over_low"] > 0.299
    assert "over" not in random and ours["forgetting"] == pytest.approx(0.01)
    assert "+0.300 (+0.300 .. +0.300)" in table([ours])


def test_the_product_is_held_against_the_best_baseline():
    cells = [cell("recent_diverse", 0.3, 0.4), cell("random", 0.5, 0.1), cell("k_center", 0.4, 0.1)]
    (row,) = compare(cells, 32, "recent_diverse")
    assert (row["best"], row["equipped"], row["streams"]) == ("random", "random", 1)
    assert row["best_gain"] == pytest.approx(0.5, abs=0.01) and row["ours"] == pytest.approx(0.7, abs=0.01)
    assert row["more"] == pytest.approx(0.2, abs=0.01) and row["low"] > 0
    assert row["same"] == pytest.approx(0.1) and row["forgetting"] == pytest.approx(0.01)
    assert "| random | 0.49" in comparison([row]) and "+40%" in comparison([row])
    assert "synthesis" not in row


def test_paraphrases_are_held_against_the_same_runs_without():
    plain = [cell("recent_diverse", 0.3, 0.4, seed=s) for s in range(2)] + [cell("random", 0.2, 0.1)]
    reworded = {**cell("recent_diverse", 0.25, seed=0), "paraphrases": 3}
    del reworded["retrieval_adapted"]
    (row,) = compare([*plain, reworded], 32, "recent_diverse")
    assert row["synthesis"] == pytest.approx(-0.05) and row["synthesis_high"] < 0
    assert "| -0.050 (-0.050 .. -0.050) |" in comparison([row])


def test_recipes_are_held_against_the_product_and_stay_out_of_its_figures():
    plain = [cell("recent_diverse", 0.3, 0.4), cell("random", 0.2, 0.1), cell("recent_diverse", 0.9, stream="other/")]
    changed = [{**cell(policy, 0.5, 0.4), "changed": "rank=8"} for policy in ("recent_diverse", "fifo")]
    changed += [{**cell("recent_diverse", 0.5, 0.4, seed=1), "changed": "rank=8"}]
    plain += [cell("recent_diverse", 0.2, 0.1, seed=1)]
    (row,) = recipes([*changed, *plain], 32, "recent_diverse")
    assert (row["data"], row["recipe"], row["runs"]) == ("dolly", "rank=8", 2)
    assert row["adapted"]["more"] == pytest.approx(0.25) and row["forgetting"] == pytest.approx([0.01, 0.01])
    assert row["adapted"]["low"] == pytest.approx(0.2) and row["adapted"]["high"] == pytest.approx(0.3)
    assert "| dolly | rank=8 | 2 | +0.250 (+0.200 .. +0.300) |" in recipe_table([row])
    assert recipes(plain, 32, "recent_diverse") == []
    assert compare([*changed, *plain[:2]], 32, "recent_diverse")[0]["adapter"] == pytest.approx(0.3, abs=0.01)


def test_policies_are_compared_over_the_streams_that_all_have():
    policies = {"recent_diverse": 0.2, "all_three": 0.25, "random": 0.5, "fifo": 0.3, "k_center": 0.4}
    policies |= {"keep_first": 0.1}
    streams = {"a/": 0, "b/": 1}
    usual = [cell(p, g + more, 0.1, s, changed=USUAL) for p, g in policies.items() for s, more in streams.items()]
    ours = [cell("recent_diverse", 0.6 + more, 0.2, s) for s, more in streams.items()]
    extra = [cell("recent_diverse", 9.0, stream="c/")]
    rows = overall(usual + ours + extra, 32, "recent_diverse")
    assert [row["streams"] for row in rows] == [2] * 7
    assert rows[2]["adapted"] == pytest.approx(1.0, abs=0.01) and rows[2]["retrieval_adapted"] == pytest.approx(1.1)
    assert rows[-1]["method"] == "ours (recent, diverse), as it comes"
    assert rows[-1]["retrieval_adapted"] == pytest.approx(1.3)
    assert "more" not in rows[0] and (rows[2]["more"], rows[2]["low"]) == pytest.approx((0.3, 0.3))
    assert "| random | " in overall_table(rows) and overall(extra, 32, "recent_diverse") == []


def test_all_answers_are_held_against_the_buffer_on_the_same_seeds():
    ours = [cell("recent_diverse", 0.3, 0.1), cell("recent_diverse", 9.0, seed=1)]
    ours += [cell("recent_diverse", 1.0, stream="x/"), cell("recent_diverse", 0.2, 0.1, changed=USUAL)]
    rows, passes = ({**cell("all_data", gain, 0.2, changed=c), "asked": 160} for gain, c in ((0.5, USUAL), (0.7, "")))
    few, many = ceiling([*ours, rows, passes], 32, "recent_diverse")
    assert (few["stream"], few["asked"]) == ("dolly/", 160)
    assert (few["after"], many["after"]) == ("as many rows", "as many passes")
    assert (few["adapted"]["more"], many["adapted"]["more"]) == pytest.approx((0.3, 0.4))
    assert (few["retrieval_adapted"]["low"], many["retrieval_adapted"]["low"]) == pytest.approx((0.4, 0.5))
    assert "| dolly | 160 | as many rows | +0.300 (+0.300 .. +0.300) | +0.400" in ceiling_table([few])
    assert ceiling(ours, 32, "recent_diverse") == []


def test_users_of_a_data_set_count_together_and_only_runs_that_all_have():
    cells = [cell(p, 0.4, 0.1, f"ubuntu_irc/irc_0{u}") for p in ("recent_diverse", "random") for u in (1, 2)]
    cells += [cell("recent_diverse", 9.0, 0.1, "ubuntu_irc/irc_03")]  # its baseline has not run yet
    (row,) = compare(cells, 32, "recent_diverse")
    assert (row["streams"], row["runs"]) == (2, 2) and row["adapter"] == pytest.approx(0.4, abs=0.01)


def test_a_user_with_more_seeds_weighs_no_more():
    cells = [cell(p, 0.4, 0.1, "irc/1", seed=s) for p in ("recent_diverse", "random") for s in range(3)]
    easy = [cell(p, 0.2, 0.1, "irc/2") for p in ("recent_diverse", "random")]
    cells += [
        {
            **c,
            "base": [loss - 2 for loss in c["base"]],
            "adapted": [loss - 2 for loss in c["adapted"]],
            "retrieval_adapted": [loss - 2 for loss in c["retrieval_adapted"]],
        }
        for c in easy
    ]
    (row,) = compare(cells, 32, "recent_diverse")
    alone = [compare([c for c in cells if c["stream"] == s], 32, "recent_diverse")[0] for s in ("irc/1", "irc/2")]
    assert row["base"] == pytest.approx((alone[0]["base"] + alone[1]["base"]) / 2)
    assert row["ours"] == pytest.approx((alone[0]["ours"] + alone[1]["ours"]) / 2)


def test_an_interval_draws_streams_seeds_and_exchanges():
    rng, exchanges = np.random.default_rng(0), 400
    noise = 0.01 * rng.standard_normal((5, exchanges))
    users = [1.0 + noise, 2.0 + noise]
    assert gains.interval(users[:1])[0] == pytest.approx(1.0, abs=0.01)
    assert np.ptp(gains.interval(users[:1])[1:]) < 0.01  # one user's exchanges are alike
    assert np.ptp(gains.interval(users)[1:]) == pytest.approx(1.0, abs=0.05)  # users are not
    seeds = [np.linspace(0, 1, 5)[:, None] + noise]
    assert 0.4 < np.ptp(gains.interval(seeds)[1:]) < 0.8  # nor are these seeds: 4 * sd / sqrt(5) = 0.6


def test_the_picture_takes_as_many_lines_as_it_needs(tmp_path):
    from matplotlib import image

    rows = summarize([cell("random", 0.4, 0.1, f"user {n}") for n in range(6)])
    draw_streams(rows, tmp_path / "two.png", columns=3)
    draw_streams(rows[:3], tmp_path / "one.png", columns=3)
    two, one = (image.imread(tmp_path / name).shape[0] for name in ("two.png", "one.png"))
    assert two > 1.5 * one


def test_a_curve_has_a_point_for_each_fifth_and_stays_out_of_the_other_tables(tmp_path):
    parts = [{**cell("random", 0.1 * n), "fifths": n} for n in (1, 2, 3, 4)]
    ended = [cell("random", 0.5), cell("recent_diverse", 0.6)]  # the latter was not followed
    (curve,) = series(parts + ended, "fifths", range(1, 6), 32, "recent_diverse")
    assert curve["gains"] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=0.01)
    assert whole(parts + ended) == ended
    assert "| dolly | random | 0.098 | 0.198 |" in series_table([curve], range(1, 6))
    draw_series([curve], range(1, 6), "fifths", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_buffers_of_other_sizes_make_a_series():
    sizes = [{**cell("recent_diverse", gain), "bins": bins} for bins, gain in ((64, 0.4), (16, 0.2), (32, 0.3))]
    other = [{**cell("recent_diverse", 9.0), "bins": bins, "paraphrases": 3} for bins in (16, 32, 64)]
    (row,) = series(sizes + other, "bins", (16, 32, 64), 32, "recent_diverse")
    assert row["gains"] == pytest.approx([0.2, 0.3, 0.4], abs=0.01)
    assert series(sizes, "bins", (16, 32, 64, 128), 32, "recent_diverse") == []


def test_the_name_of_a_row_says_what_differs():
    reworded = {**cell("recent_diverse", 0.3), "paraphrases": 3}
    assert label(reworded) == "ours (recent, diverse), as it comes, but 3 paraphrases"
    assert label(cell("random", 0.3)) == "random"
