"""All committed results on one page: make results writes benchmarks/results/README.md and the pictures it shows.

Figures are read from the JSON files beside it; nothing is measured here. A test holds the page, and the figures of the
project's README, against the same files.
"""

import argparse
import json
from pathlib import Path

from common import RESULTS, TRAINING_SIDES
from selection.tables import comparison


def table(head: list[str], rows: list[list]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"] + [
        "| " + " | ".join(map(str, row)) + " |" for row in rows
    ]


def train_speed(found: dict) -> list[str]:
    rows = []
    for case, sides in found["cases"].items():
        for side, facts in sides.items():
            if isinstance(facts, dict):
                rows.append([
                    case, TRAINING_SIDES[side], f"{facts['seconds']:.2f}", f"{facts['tokens_per_second']:.0f}",
                    f"{facts['peak_mb']:,}", f"{facts['ours_is_faster_by']:.2f}",
                ])
    return table(["row", "side", "s a step", "tokens/s", "peak MB", "times as long as idletune"], rows)


def train_quality(found: dict) -> list[str]:
    sides = {"idletune": found["idletune"], "torch + PEFT": found["torch_peft"]}
    sides |= {"idletune as it comes": found["as_it_comes"]} if "as_it_comes" in found else {}
    rows = [[name, f"{side['before']:.4f}", f"{side['after']:.4f}"] for name, side in sides.items()]
    return table(["side", "held-out loss before", f"after {len(found['idletune']['training'])} steps"], rows)


def train_profile(found: dict) -> list[str]:
    cases = found["cases"]
    parts = sorted(cases["256"]["parts_ms"], key=lambda part: -cases["256"]["parts_ms"][part])
    rows = [
        [part, *(f"{c['parts_ms'][part]:.0f} ms, {c['parts_ms'][part] / c['wall_ms']:.0%}" for c in cases.values())]
        for part in parts
    ]
    return table(["what a step does", *(f"one set of {tokens} tokens" for tokens in cases)], rows)


def train_growth(found: dict) -> list[str]:
    rows = [[p["layers"], p["tokens"], f"{p['seconds']:.2f}", f"{p['peak_mb']:.0f}"] for p in found["points"]]
    return table(["layers", "tokens", "s a step", "peak MB"], rows)


def train_resume(found: dict) -> list[str]:
    return [f"{found['bit_identical']} of {found['kills']} killed trainings resumed to the same bits; at most "
            f"{found['most_steps_lost']} micro-step lost."]


def train_qvac(found: dict) -> list[str]:
    rows = [[name, f"{found[side]['seconds']:.2f}", f"{found[side]['peak_mb']:,}"]
            for name, side in (("idletune", "ours"), ("QVAC", "qvac"))]
    said = f"Rows of {found['row_tokens']} tokens of {found['model']}: {found['faster_by']}x as fast."
    return [said, "", *table(["side", "s a step", "peak MB"], rows)]


def selection(found: dict) -> list[str]:
    lines = [f"{found['cells']} of {found['of']} cells so far; the page of every policy says what the columns are.", "",
             comparison(found["compared"]), ""]
    if found["fresh_compared"]:
        lines += ["On streams that no setting was chosen on:", "", comparison(found["fresh_compared"]), ""]
    return [*lines, "![the same](selection-compared.png)", "", "![gains of all policies](selection.png)"]


def faults(found: dict) -> list[str]:
    kinds = {"kills": "SIGKILL", "torn_writes": "torn write", "disk_full": "full disk"}
    keys = ["faults", "answers_acknowledged", "answers_lost", "half_adapters", "other_problems", "resumed_bit_for_bit",
            "trainings_interrupted", "startup_ms_longest"]
    rows = [[name, *(found[kind][key] for key in keys)] for kind, name in kinds.items()]
    return table(["fault", *(key.replace("_", " ") for key in keys)], rows)


def facts(found: dict) -> list[str]:
    """Whatever else is a number."""
    flat = {}
    for name, value in found.items():
        if isinstance(value, dict) and name != "machine":
            flat |= {f"{name}, {key}": each for key, each in value.items()}
        else:
            flat[name] = value
    rows = [[name.replace("_", " "), value] for name, value in flat.items() if isinstance(value, (int, float))]
    return table(["", ""], rows)


# file: (title, command, its table)
SECTIONS = {
    "train_speed": ("Training beside torch + PEFT", "make bench-train", train_speed),
    "train_quality": ("What it learns, beside torch + PEFT", "make bench-train", train_quality),
    "train_profile": ("Where a step's time goes, under ONNX Runtime's profiler", "make bench-train", train_profile),
    "train_growth": ("Growth with layers and tokens, a 1B model's blocks", "make bench-train", train_growth),
    "train_resume": ("Trainings killed and resumed", "make bench-train", train_resume),
    "train_qvac": ("A step beside QVAC", "make bench-qvac", train_qvac),
    "selection": ("Selection and retrieval: [every policy](selection.md)", "make bench-selection", selection),
    "observe_cost": ("What looking at an exchange costs", "make bench-observe", facts),
    "faults": ("Kills, torn writes, full disks", "make bench-faults", faults),
    "fuzz_windows": ("Wrong device states, hostile replies", "make bench-fuzz", facts),
    "rpc_cost": ("The dispatcher", "make bench-rpc", facts),
    "bridge_cost": ("Java, JNI and C beside Python", "make bench-bridge", facts),
    "binding_cost": ("ONNX Runtime's C library beside its Python package", "make bench-bridge", facts),
    "fuzz_bridge": ("Calls of every kind under AddressSanitizer", "make fuzz-bridge", facts),
}


def page(folder: Path) -> str:
    """The page of all results that are in the folder."""
    lines = ["# Results", "", "Written by `make results` from the JSON files beside it.", ""]
    if (folder / "train_speed.json").exists():
        lines += ["![training beside torch and PEFT, and its growth](training.png)", ""]
    for name, (title, command, show) in SECTIONS.items():
        if not (path := folder / f"{name}.json").exists():
            continue
        found = json.loads(path.read_text())
        machine = found["machine"]
        about = f"{machine['date']}, commit {machine['commit']}, {machine['cores']} cores of {machine['cpu']}"
        lines += [f"## {title}", "", f"`{command}`: {about}.", "", *show(found), ""]
    for path in sorted(folder.glob("latency-*.md")):
        title, *rest = path.read_text().splitlines()
        lines += [f"#{title}", *rest, "", f"![the same]({path.stem}.png)", ""]
    return "\n".join(lines).rstrip() + "\n"


def draw(folder: Path) -> None:
    """Speed and memory of a step beside torch + PEFT; seconds and memory by layers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (speed, memory, growth) = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    cases = json.loads((folder / "train_speed.json").read_text())["cases"]
    for axes, key, unit in ((speed, "tokens_per_second", "tokens/s"), (memory, "peak_mb", "peak MB")):
        for offset, side in enumerate(("ours", "ours_small", "torch_fp32")):
            places = [number + 0.27 * offset for number in range(len(cases))]
            axes.barh(places, [case[side][key] for case in cases.values()], height=0.25, label=TRAINING_SIDES[side])
        axes.set(yticks=[number + 0.27 for number in range(len(cases))], yticklabels=list(cases), xlabel=unit)
        axes.invert_yaxis()
    figure.legend(*speed.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    if (path := folder / "train_growth.json").exists():
        points = [p for p in json.loads(path.read_text())["points"] if p["tokens"] == 64]
        growth.plot([p["layers"] for p in points], [p["seconds"] for p in points], "o-", label="seconds a step")
        growth.set(xlabel="layers of a 1B model, 64 tokens", ylim=(0, None), ylabel="s")
        right = growth.twinx()
        right.plot([p["layers"] for p in points], [p["peak_mb"] for p in points], "s--", color="tab:red")
        right.set(ylabel="peak MB (dashed)", ylim=(0, None))
    figure.savefig(folder / "training.png", dpi=90)
    pyplot.close(figure)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    (RESULTS / "README.md").write_text(page(RESULTS), encoding="utf-8")
    draw(RESULTS)


if __name__ == "__main__":
    main()
