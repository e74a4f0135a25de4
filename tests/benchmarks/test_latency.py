"""Statistics, refusal, parity, the report, and one run of everything on the tiny model on this machine."""

import pytest
from idletune.errors import DamagedDataError, UsageError

from benchmarks.latency import parity
from benchmarks.latency.__main__ import MEASURED, main, push_program, run_job
from benchmarks.latency.report import draw, goal, markdown
from benchmarks.latency.summary import compare, summarize
from benchmarks.latency.targets import Host, make_target


def result(target="host", emulated=False, median=2.0):
    row = {"unit": "ms", "n": 20, "median": median, "p90": 3.0, "mad": 0.1}
    environment = {"cores": 2, "cpu": "c", "abi": "a", "kernel": "k", "load": [0.1], "versions": {"numpy": "2"}}
    return {
        "target": target,
        "emulated": emulated,
        "model": "m.gguf",
        "threads": 0,
        "environment": environment,
        "commit": "c",
        "date": "d",
        "command": "make",
        "measures": {"adapter swap": row},
        "peak_mb": {"serving": 300.0},
        "parity": {"a run": parity.differences({"base": 1.0}, {"base": 1.0})},
    }


def test_statistics():
    assert summarize([5.0, 1.0, 2.0, 3.0, 100.0], "ms") == {"n": 5, "median": 3.0, "p90": 100.0, "mad": 2.0}
    assert summarize(list(range(1, 21)), "ms")["p90"] == 18
    with pytest.raises(UsageError, match="0 samples"):
        summarize([], "ms")


def test_the_worse_end_of_a_rate_is_the_slow_one():
    assert summarize(list(range(1, 21)), "tokens/s")["p90"] == 3


def test_emulated_and_physical_are_not_compared():
    assert compare(result(), result(median=4.0)) == {"adapter swap": 2.0}
    with pytest.raises(UsageError, match="qemu-aarch64 is emulated and host is physical"):
        compare(result("qemu-aarch64", emulated=True), result())
    with pytest.raises(UsageError, match="two models"):
        compare(result(), {**result(), "model": "n.gguf"})


def test_parity_names_the_worst():
    here, there = {"step 1": 2.0, "base, llama.cpp": 2.0}, {"step 1": 2.00005, "base, llama.cpp": 2.001}
    parity.check(parity.differences(here, there))
    with pytest.raises(DamagedDataError, match="1 of 2 losses.*'step 1' by 2.0e-04"):
        parity.check(parity.differences({"step 1": 2.0, "step 2": 1.0}, {"step 1": 2.0002, "step 2": 1.0}))
    with pytest.raises(DamagedDataError, match="1 losses here and 0 there"):
        parity.differences({"step 1": 2.0}, {})


@pytest.mark.slow
def test_report(tmp_path):
    assert "| adapter swap | ms | 2 | 3 | 0.1 | 20 | <= 50: met |" in markdown(result())
    assert "Emulated" in markdown(result(emulated=True)) and not goal(result(emulated=True), "adapter swap")
    assert "missed" in goal(result(median=51.0), "adapter swap")
    draw(result(), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_every_part_on_this_machine(tmp_path, tiny_model_folder):
    """Two runs of the loop give the same losses; every measure has its samples."""
    target = Host(tmp_path / "work")
    target.prepare()
    there = push_program(target, {"tiny": tiny_model_folder / "tiny.gguf"})
    found = run_job(target, there["tiny"], [*MEASURED, "parity", "loop"], 2, 1, tmp_path)
    wanted = {
        "start-up",
        "first token",
        "prefill, adapter",
        "adapter swap",
        "observe",
        "question and answer",
        "observe, share of a reply",
        "micro-step",
        "training",
        "checkpoint",
    }
    assert wanted <= found["measures"].keys()
    assert all(value > 0 for row in found["measures"].values() for value in row["values"])
    again = run_job(target, there["tiny"], ["loop"], 1, 1, tmp_path)
    assert again["facts"]["loop"] == found["facts"]["loop"] and found["facts"]["loop_promoted"]


def test_wrong_use(tmp_path, capsys, tiny_path):
    with pytest.raises(UsageError, match="choose host, qemu-aarch64 or adb:SERIAL"):
        make_target("adb:", tmp_path)
    assert main(["host", "--repeats", "3", "--model", str(tiny_path)]) == 2
    assert "3 repeats; a figure needs 20" in capsys.readouterr().err
    assert main(["host", "--model", str(tmp_path / "none.gguf")]) == 2
    target = Host(tmp_path)
    with pytest.raises(UsageError, match="ended with 1 on host"):
        target.run(["-c", "raise SystemExit(1)"])
    with pytest.raises(UsageError, match="left no result.json"):
        target.pull("result.json", tmp_path / "here.json")
