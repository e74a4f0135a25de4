"""The figures that are shown are those that were measured."""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import evidence  # noqa: E402
import results_page  # noqa: E402
from cogapp import Cog  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
COGGED = ("README.md", "docs/evidence.md", "docs/fleet.md", "docs/settings.md")


def test_the_page_is_made_of_the_results():
    assert results_page.page(RESULTS) == (RESULTS / "README.md").read_text()


def test_every_result_is_on_the_page():
    known = {*results_page.SECTIONS, *(path.stem for path in RESULTS.glob("latency-*.json"))}
    assert {path.stem for path in RESULTS.glob("*.json")} <= known


@pytest.mark.parametrize("page", COGGED)
def test_the_pages_are_made_of_the_results(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    with redirect_stdout(io.StringIO()) as said:
        assert Cog().main(["cog", "--check", page]) == 0, f"{said.getvalue()}: run make docs"


def test_the_pages_are_those_of_the_makefile():
    assert f"COGGED := {' '.join(COGGED)}\n" in (ROOT / "Makefile").read_text()


def test_what_was_measured_by_faults_is_what_the_page_says():
    found = evidence.result("faults")
    assert f"{found['kills']['faults']} kills" in evidence.faults_sentence()
    assert " 0 answers lost, 0 half adapters served" in evidence.faults_sentence()
