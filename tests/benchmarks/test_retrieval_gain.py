"""The comparison of two retrievals on figures that are known."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import retrieval_gain  # noqa: E402


def line(stream, number, embeddings, words, **fused):
    return {"stream": stream, "number": number, "base": 5.0, "embeddings": embeddings, "words": words, **fused}


def test_gains_are_pooled_by_data_set_and_over_all():
    lines = [line("dolly/", n, 4.0, 3.5) for n in range(3)]
    lines += [line("dolly/+200", 0, 4.0, 3.5), line("medquad/", 0, 4.0, 4.2, fused=3.9)]
    found = retrieval_gain.figures(lines)
    assert found["dolly"]["words"] == {
        "streams": 2, "exchanges": 4, "embeddings": 1.0, "gain": 1.5, "more": 0.5, "low": 0.5, "high": 0.5,
    }  # fmt: skip
    assert found["dolly"]["fused"] == {"streams": 0, "exchanges": 0}
    assert found["medquad"]["words"]["more"] == -0.2 and found["medquad"]["fused"]["more"] == pytest.approx(0.1)
    assert found["all"]["words"]["more"] == pytest.approx((4 * 0.5 - 0.2) / 5) and found["all"]["fused"]["gain"] == 1.1


def test_what_both_rankings_have_in_front_is_first():
    assert retrieval_gain.fused([1, 2, 3], [3, 1, 2]) == [1, 3, 2]
    assert retrieval_gain.fused([1, 2], [2, 1]) == [1, 2]  # as the first ranking has them


def test_every_held_out_exchange_is_measured_once_and_all_streams_from_the_start():
    cells = {"a/": {"base": [0.0] * 9}, "b/": {"base": [0.0] * 5}}
    found = list(retrieval_gain.order(cells))
    assert len(set(found)) == len(found) == 14 and {stream for stream, _ in found[:5]} == {"a/", "b/"}


def test_the_cells_of_every_stream_are_there():
    cells = retrieval_gain.kept_before()
    assert len(cells) == 24
    assert all(len(c["retrieval"]) == len(c["base"]) and len(c["kept"]) == 32 for c in cells.values())
