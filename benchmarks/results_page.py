"""All committed results on one page: make results writes benchmarks/results/README.md and the pictures it shows.

Figures are read from the JSON files beside it; nothing is measured here. A test holds the page, and the figures of the
project's README, against the same files.
"""

import argparse
import json
from pathlib import Path

import evidence
from common import RESULTS, TRAINING_SIDES
from selection.tables import comparison


def table(head: list[str], rows: list[list]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"] + [
        "| " + " | ".join(map(str, row)) + " |" for row in rows
    ]


def demo(found: dict) -> list[str]:
    return [evidence.demo_table(), "", evidence.demo_time()]


def train_speed(found: dict) -> list[str]:
    rows = []
    for case, sides in found["cases"].items():
        for side, facts in sides.items():
            if isinstance(facts, dict):
                rows.append(
                    [
                        case,
                        TRAINING_SIDES[side],
                        f"{facts['seconds']:.2f}",
                        f"{facts['tokens_per_second']:.0f}",
                        f"{facts['peak_mb']:,}",
                        f"{facts['ours_is_faster_by']:.2f}",
                    ]
                )
    return table(["row", "side", "s a step", "tokens/s", "peak MB", "times as long as idletune"], rows)


def train_speed_beside(found: dict) -> list[str]:
    rows = [
        [
            case,
            TRAINING_SIDES[side],
            *(f"{pair[version]['seconds']:.2f}" for version in ("here", "there")),
            f"{pair['times_as_long']:.2f}",
            *(f"{pair[version]['peak_mb']:,}" for version in ("here", "there")),
        ]
        for case, sides in found["cases"].items()
        for side, pair in sides.items()
    ]
    there = found["there"]
    return table(["row", "side", "s a step", f"in {there}", "times as long", "peak MB", f"in {there}"], rows)


def train_quality(found: dict) -> list[str]:
    sides = {"idletune": found["idletune"], "torch + PEFT": found["torch_peft"]}
    sides |= {"idletune as it comes": found["as_it_comes"]} if "as_it_comes" in found else {}
    rows = [[name, f"{side['before']:.4f}", f"{side['after']:.4f}"] for name, side in sides.items()]
    return table(["side", "held-out loss before", f"after {len(found['idletune']['training'])} steps"], rows)


def train_profile(found: dict) -> list[str]:
    cases = found["cases"]
    first = next(iter(cases.values()))["parts_ms"]
    rows = [
        [part, *(f"{c['parts_ms'][part]:.0f} ms, {c['parts_ms'][part] / c['wall_ms']:.0%}" for c in cases.values())]
        for part in first
    ]
    return table(["what a step does", *cases], rows)


def train_growth(found: dict) -> list[str]:
    rows = [[p["layers"], p["tokens"], f"{p['seconds']:.2f}", f"{p['peak_mb']:.0f}"] for p in found["points"]]
    return table(["layers", "tokens", "s a step", "peak MB"], rows)


def train_resume(found: dict) -> list[str]:
    return [
        f"{found['bit_identical']} of {found['kills']} killed trainings resumed to the same bits; at most "
        f"{found['most_steps_lost']} micro-step lost."
    ]


def train_qvac(found: dict) -> list[str]:
    rows = [
        [
            name,
            *(f"{one[side]['seconds']:.2f}" for side in ("ours", "qvac")),
            f"{one['faster_by']:.1f}x",
            *(f"{one[side]['peak_mb']:,}" for side in ("ours", "qvac")),
            f"{one['ours'].get('anonymous_mb', '')}",
        ]
        for name, one in found["models"].items()
    ]
    return table(["model", "s a step", "QVAC's", "faster by", "peak MB", "QVAC's", "of ours, anonymous"], rows)


def selection(found: dict) -> list[str]:
    lines = [
        f"{found['cells']} of {found['of']} cells so far; the page of every policy says what the columns are.",
        "",
        comparison(found["compared"]),
        "",
    ]
    if found["fresh_compared"]:
        lines += ["On streams that no setting was chosen on:", "", comparison(found["fresh_compared"]), ""]
    return [*lines, "![the same](selection-compared.png)", "", "![gains of all policies](selection.png)"]


def retrieval(found: dict) -> list[str]:
    return [evidence.retrieval_table(found)]


def learning(found: dict) -> list[str]:
    """All tables; docs/evidence.md says what follows from them."""
    lines = [evidence.learning_measured()]
    for title, text in (
        ("Retrieval by words", evidence.learning_retrieval_table()),
        ("Taps", evidence.learning_taps_table()),
        ("Trained as it is served", evidence.learning_changes_table("few_shot", ways=("alone", "words"))),
        ("Forms, SmolLM2-135M", evidence.learning_changes_table("forms")),
        ("Forms, Gemma 3 270M", evidence.learning_changes_table("forms", evidence.GEMMA)),
    ):
        lines += ["", f"{title}:", "", text]
    return lines


def learning_cpu(found: dict) -> list[str]:
    """Those tables that were measured without a GPU."""
    of, run = found["models"][evidence.SMALL], "learning_cpu"
    lines = [evidence.learning_measured(run)]
    if of["thumbs"]:
        lines += ["", "Thumbs:", "", evidence.learning_thumbs_table(run)]
    if of["taps"]:
        lines += ["", "Taps:", "", evidence.learning_taps_table(run)]
    if of["forms"]["groups"]:
        lines += ["", "Forms:", "", evidence.learning_changes_table("forms", run=run)]
    return lines


def paraphrases(found: dict) -> list[str]:
    return [line for model in found["models"] for line in paraphrases_of(model)][:-1]


def paraphrases_of(model: str) -> list[str]:
    return [f"{model}:", "", evidence.paraphrases_table(model), "", evidence.paraphrases_sentence(model), ""]


def memory(found: dict) -> list[str]:
    """Recall of each data set, then answers and choices."""
    parts = [part for name, part in found.items() if name != "machine" and "recall" in part]
    lines = [evidence.recall_table(found)] if parts else []
    return [*lines, "", evidence.memory_sentence(found)]


def faults(found: dict) -> list[str]:
    kinds = {"kills": "SIGKILL", "torn_writes": "torn write", "disk_full": "full disk"}
    keys = [
        "faults",
        "answers_acknowledged",
        "answers_lost",
        "half_adapters",
        "other_problems",
        "resumed_bit_for_bit",
        "trainings_interrupted",
        "startup_ms_longest",
    ]
    rows = [[name, *(found[kind][key] for key in keys)] for kind, name in kinds.items()]
    return table(["fault", *(key.replace("_", " ") for key in keys)], rows)


def attack(found: dict) -> list[str]:
    """The parts of the attack, and what each met how often."""
    parts = {name: part for name, part in found.items() if isinstance(part, dict) and "cases" in part}
    rows = [
        [name.replace("_", " "), part["cases"], part["of"], part["problems"], f"{part['seconds']:.0f}"]
        for name, part in parts.items()
    ]
    lines = table(["part", "cases", "of", "promises broken", "s"], rows)
    for name, part in parts.items():
        met = ", ".join(f"{count:,} {outcome}" for outcome, count in part["outcomes"].items())
        lines += ["", f"- {name.replace('_', ' ')}: {met}."]
        lines += [f"  - broken: {example}" for example in part["examples"]]
    return lines


def import_worth(found: dict) -> list[str]:
    return [evidence.import_table()]


def http_cost(found: dict) -> list[str]:
    rows = [
        [name, side["tokens_a_second"]["process"], side["tokens_a_second"]["http"], f"{side['share']:.3f}"]
        for name, side in found["speeds"].items()
    ]
    lines = table(["threads", "tokens/s in the process", "tokens/s over HTTP", "share"], rows)
    start, of = found["start_s"], f"{found['chats']} pairs of answers of {found['tokens']} tokens"
    said = (
        f"from its start the page is there after {start['page']:.2f} s, the model answers after {start['model']:.2f} s."
    )
    return [*lines, "", f"Medians of {of}; the share is the median of the pairs' quotients. {said.capitalize()}"]


def http_malformed(found: dict) -> list[str]:
    rows = [
        [status if status != "0" else "none in 0.25 s", f"{count:,}"] for status, count in found["statuses"].items()
    ]
    memory = ", ".join(map(str, found["memory_mb"]))
    said = f"Of {found['requests']:,} requests {found['server_errors']} got a 5xx, {found['tracebacks']} left a"
    held = f"traceback. The server's memory after each tenth of them, in MB: {memory}."
    return [f"{said} {held}", "", *table(["status", "requests"], rows)]


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


def page_opening(found: dict) -> list[str]:
    rows = [
        [name, f"{found[name]['median_ms']} ms", f"{found[name]['p95_ms']} ms", f"{found[name]['bytes'] / 1000:.1f} kB"]
        for name in ("first", "later")
    ]
    return table(["opening", "median until one can write", "95%", "over the wire"], rows)


def scale(found: dict) -> list[str]:
    return [evidence.scale_table()]


def night(found: dict) -> list[str]:
    return [evidence.night_table(), "", evidence.night_warm_sentence()]


def real_night(found: dict) -> list[str]:
    return [evidence.real_night_table()]


def scale_frozen(found: dict) -> list[str]:
    return [evidence.scale_frozen_sentences()]


def int8_kills(found: dict) -> list[str]:
    did = ", ".join(f"{what} {count}" for what, count in found["did"].items())
    return [f"{found['bit_identical']} of {found['runs']} runs ended at the same bits; {found['kills']} kills: {did}."]


def busy_neighbours(found: dict) -> list[str]:
    rows = [
        [work, n, side, f"{one['seconds']:.2f}", f"{one['of_fair_share']:.2f}"]
        for work, by_neighbours in found["works"].items()
        for n, sides in by_neighbours.items()
        for side, one in sides.items()
    ]
    head = ["work", "busy neighbours", "threads", "seconds", "of the fair share"]
    return [*table(head, rows), "", evidence.neighbours_sentence()]


def full_size(found: dict) -> list[str]:
    return [evidence.full_size_table()]


def fleet(found: dict) -> list[str]:
    note = (
        "Mean held-out loss in nats per token of 16 exchanges of each user outside; phones of a fleet give 16 answers"
        " each. Below 0 the fleet helps. Taken: the share of users whose gate takes the fleet's adapter. Trained by"
        f" {found['engine']}."
    )
    titles = {
        "plain": "Without noise",
        "private": "With noise, and small adapters",
        "poisoned": "One phone poisoned",
        "others": "Other terms",
    }
    lines = [note, "", "![the difference by rounds](fleet.png)", ""]
    for which, title in titles.items():
        lines += [f"### {title}", "", evidence.fleet_table(which), ""]
    return lines[:-1]


# file: (title, command, its table)
SECTIONS = {
    "demo": ("The demo", "make bench-demo", demo),
    "train_speed": ("Training beside torch + PEFT", "make bench-train", train_speed),
    "train_speed_beside": (
        "Training beside an older version, in turn",
        "python benchmarks/train_speed.py --beside CHECKOUT",
        train_speed_beside,
    ),
    "train_quality": ("What it learns, beside torch + PEFT", "make bench-train", train_quality),
    "train_profile": ("Where a step's time goes, under ONNX Runtime's profiler", "make bench-train", train_profile),
    "train_profile_qvac": (
        "Where the time of the step beside QVAC goes",
        "python benchmarks/train_profile.py --qvac MODEL.gguf",
        train_profile,
    ),
    "train_growth": ("Growth with layers and tokens, a 1B model's blocks", "make bench-train", train_growth),
    "train_resume": ("Trainings killed and resumed", "make bench-train", train_resume),
    "train_qvac": ("A step beside QVAC", "make bench-qvac", train_qvac),
    "scale": ("Models of phone size beside torch + PEFT", "make bench-scale", scale),
    "night": ("What a night of 60 answers costs, in seconds of the processor", "make bench-scale", night),
    "real_night": ("A night of real models", "make bench-real-night", real_night),
    "full_size": ("Families at the size of their real models", "make bench-full-size", full_size),
    "scale_frozen": ("Frozen layers in int8", "make bench-scale-frozen", scale_frozen),
    "int8_kills": ("Kills while int8 files are made and used", "make bench-int8-kills", int8_kills),
    "busy_neighbours": ("Beside busy programs", "make bench-neighbours", busy_neighbours),
    "selection": ("Selection and retrieval: [every policy](selection.md)", "make bench-selection", selection),
    "fleet": ("What a fleet is worth to a user outside of it", "make bench-fleet", fleet),
    "import_worth": ("What an imported past is worth", "make bench-import", import_worth),
    "import_speed": ("Reading large exports", "make bench-import", facts),
    "fuzz_imports": ("Mutated files of conversations", "make bench-import", facts),
    "retrieval": ("Retrieval by words beside retrieval by embeddings", "make bench-retrieval", retrieval),
    "learning": ("What methods of learning are worth", "make bench-learning", learning),
    "learning_cpu": ("The same by the product's own trainer", "make bench-learning", learning_cpu),
    "paraphrases": ("Do paraphrases of the answered questions pay?", "make bench-learning", paraphrases),
    "memory": ("Does a question find what was told?", "make bench-memory", memory),
    "first_token": ("The wait for the first token with retrieval", "make bench-first-token", facts),
    "observe_cost": ("What looking at an exchange costs", "make bench-observe", facts),
    "faults": ("Kills, torn writes, full disks", "make bench-faults", faults),
    "attack": ("The promises under attack", "make attack", attack),
    "fuzz_windows": ("Wrong device states, hostile replies", "make bench-fuzz", facts),
    "rpc_cost": ("The dispatcher", "make bench-rpc", facts),
    "http_cost": ("The HTTP server", "make bench-http", http_cost),
    "http_malformed": ("Malformed HTTP requests", "make fuzz-http", http_malformed),
    "page": ("Opening the page in Chromium", "make bench-page", page_opening),
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
