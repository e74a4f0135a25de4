"""The figures that are shown are those that were measured."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import results_page  # noqa: E402
from selection.gains import label_of  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
README = " ".join((ROOT / "README.md").read_text().split())


def result(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def test_the_page_is_made_of_the_results():
    assert results_page.page(RESULTS) == (RESULTS / "README.md").read_text()


def test_every_result_is_on_the_page():
    known = {*results_page.SECTIONS, *(path.stem for path in RESULTS.glob("latency-*.json"))}
    assert {path.stem for path in RESULTS.glob("*.json")} <= known


@pytest.mark.parametrize("case, row", [
    ("256, one set", "256 tokens, one set"), ("512, one set", "512 tokens, one set"), ("512, story", "5 sets"),
])
def test_the_training_table(case, row):
    found = result("train_speed")["cases"][case]
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {row}")]
    ours, theirs = found["ours"], found["torch_fp32"]
    assert f"| {ours['seconds']:.2f} | {theirs['seconds']:.2f}" in line
    assert f"{theirs['ours_is_faster_by']:.1f}x" in line
    first, later = (found[side]["seconds"] for side in ("default_first", "default_later"))
    small = f"{found['ours_small']['peak_mb']:,} | {found['ours_small']['seconds']:.2f}"
    assert f"| {small} | {theirs['peak_mb']:,} | {first:.2f} | {later:.2f} |" in line
    assert f"commit {result('train_speed')['machine']['commit']}" in README


def test_the_short_table():
    selection, cases = result("selection"), result("train_speed")["cases"].values()
    rows = [*selection["compared"], *selection["fresh_compared"]]
    gains, shares = [row["ours"] for row in rows], [row["more"] / row["best_gain"] for row in rows]
    assert f"the held-out loss by {min(gains):.2f} to {max(gains):.2f} nats, adapter and retrieval together" in README
    assert f"together: {min(shares):.0%} to {max(shares):.0%} more than the best other policy's adapter" in README
    faster = [case["torch_fp32"]["ours_is_faster_by"] for case in cases]
    times = [case["ours_small"]["seconds"] / case["torch_fp32"]["seconds"] for case in cases]
    memory = [case["ours_small"]["peak_mb"] / case["torch_fp32"]["peak_mb"] for case in cases]
    assert f"{min(faster):.1f}x to {max(faster):.1f}x as fast as torch" in README
    assert f"a tenth of its memory, at {min(times):.1f} to {max(times):.1f} times its time" in README
    assert all(round(share, 1) == 0.1 for share in memory)
    qvac = result("train_qvac")
    assert f"{qvac['ours']['peak_mb'] / qvac['qvac']['peak_mb']:.0%} of its memory" in README


def test_the_sentences():
    quality, resume, faults = result("train_quality"), result("train_resume"), result("faults")
    assert f"{quality['idletune']['before']:.3f} -> {quality['idletune']['after']:.3f}" in README
    assert f"({quality['apart']:.3%} apart" in README
    assert f"with the settings as they come it falls to {quality['as_it_comes']['after']:.3f}" in README
    assert f"Of {resume['kills']} trainings killed" in README
    assert f"{resume['bit_identical']} resumed to the same" in README
    kinds = ("kills", "disk_full", "torn_writes")
    count = {kind: faults[kind]["faults"] for kind in kinds}
    assert f"{count['kills']} kills, {count['disk_full']} full disks and {count['torn_writes']} torn writes" in README
    resumed = sum(faults[kind]["resumed_bit_for_bit"] for kind in kinds)
    interrupted = sum(faults[kind]["trainings_interrupted"] for kind in kinds)
    assert f"{resumed} of {interrupted} interrupted trainings" in README
    assert f"{max(faults[kind]['startup_ms_longest'] for kind in kinds):.0f} ms at the longest" in README
    assert sum(faults[kind]["answers_lost"] for kind in kinds) == 0
    observed = result("observe_cost")
    assert f"{observed['observe_ms']:.1f} ms, {observed['observe_share']:.1%} of the time" in README


def test_the_selection_table():
    found = result("selection")
    assert f"{found['cells']} of {found['of']} cells" in README
    lines = (ROOT / "README.md").read_text().splitlines()
    for row in (*found["compared"], *found["fresh_compared"]):
        gains = " | ".join(f"{row[key]:.3f}" for key in ("adapter", "retrieval", "ours"))
        name, best = row["data"].replace("_", " "), label_of(row["best"])
        over = f"{row['more']:+.3f} ({row['low']:+.3f} .. {row['high']:+.3f})"
        assert f"| {name} | {row['base']:.3f} | {best} {row['best_gain']:.3f} | {gains} | {over} |" in lines


def test_the_emulated_losses():
    found = result("latency-qemu-aarch64")
    apart = [(name, row["difference"]) for run in found["parity"].values() for name, row in run.items()]
    trainer, engine = (max(d for name, d in apart if ("llama.cpp" in name) == of) for of in (False, True))
    said = re.search(r"the trainer's within ([\d.]+) nats, llama.cpp's within ([\d.]+)", README)
    assert trainer <= float(said[1]) < 2 * trainer and engine <= float(said[2]) < 2 * engine
    assert f"(at commit {found['commit']})" in README


def test_the_latency_sentence():
    found = {name: row["median"] for name, row in result("latency-host")["measures"].items()}
    assert f"starts in {found['start-up']:,.0f} ms, swaps an adapter in {found['adapter swap']:.0f} ms" in README
    assert f"decodes at {found['decode, of plain llama.cpp']:.3f} of plain llama.cpp's speed" in README


@pytest.mark.parametrize("name, key, pattern", [
    ("train_qvac", "faster_by", r"([\d.]+)x as fast as QVAC"),
    ("fuzz_bridge", "calls", r"([\d,]+) calls of every kind"),
    ("bridge_cost", "streamed_share", r"([\d.]+) of the speed of Python's"),
    ("binding_cost", "library_by_package", r"([\d.]+) times the package's"),
])
def test_sentences_of_results_that_may_not_be_there_yet(name, key, pattern):
    said = re.search(pattern, README)
    if not (RESULTS / f"{name}.json").exists():
        assert not said, "a figure without a result"
        return
    assert said and float(said[1].replace(",", "")) == pytest.approx(result(name)[key], abs=0.0051)
