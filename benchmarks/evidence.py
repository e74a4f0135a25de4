"""The measured sentences and tables of README.md and docs/evidence.md, written from benchmarks/results.

`make docs` runs cog over both pages, which puts what these functions return between their marks. A test fails when a
page and the results differ. Nothing is measured here.
"""

import json
import sys
from pathlib import Path
from statistics import median, stdev

RESULTS = Path(__file__).parent / "results"
sys.path.append(str(RESULTS.parent))

from fleets.report import fleet_told, is_plain, is_private  # noqa: E402
from selection.gains import label_of  # noqa: E402

ROWS = {
    "256, one set": "256 tokens, one set",
    "512, one set": "512 tokens, one set",
    "512, story": "5 sets, 461 tokens",
}


def result(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def measured(name: str) -> str:
    """Where, when and at which commit a result was measured."""
    found = result(name)
    machine = found.get("machine") or {**found["environment"], "commit": found["commit"], "date": found["date"]}
    return f"{machine['cores']} cores of {machine['cpu']}, {machine['date']}, commit {machine['commit']}"


def table(head: list[str], rows: list[list]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def scale_table() -> str:
    """Models of phone size as they come, beside torch + PEFT."""
    head = ["model", "s a step", "CPU s", "anonymous MB", "files MB", "made in s", "on cold pages", "frozen layers"]
    return table([*head, "torch's s a step", "its anonymous MB"], [_scale_row(*one) for one in _scaled().items()])


def full_size_table() -> str:
    """Real shapes of every kind of family with random weights: whether they train, in what time and memory."""
    seconds, memory = ("step_seconds", "step_cpu_seconds"), ("planned_mb", "anonymous_mb", "int8_mb")
    rows = [
        [name, f"{one['file_mb']:,}", *(f"{one[key]:.1f}" for key in seconds), *(f"{one[key]:,}" for key in memory)]
        for name, one in result("full_size")["models"].items()
    ]
    return table(["model", "file MB", "s a step", "CPU s", "planned MB", "anonymous MB", "int8 files MB"], rows)


def scale_load() -> str:
    return _load_sentence(max(found["load"] for found in _scaled().values()), "scale")


def full_size_load() -> str:
    return _load_sentence(result("full_size")["load"], "full_size")


def _load_sentence(load: float, name: str) -> str:
    """A warning where other programs were running."""
    cores = result(name)["machine"]["cores"]
    busy = (
        f"Other programs were running (load {load:.0f} on {cores} cores): times are several times those of a quiet one."
    )
    return busy if load > cores / 2 else "The machine was quiet."


def scale_frozen_sentences() -> str:
    """What frozen layers in int8 cost of the held-out loss, by model."""
    parts = []
    for model, found in result("scale_frozen").items():
        if model != "machine":
            count, mean, spread = len(found["streams"]), found["mean"], found["deviation"]
            parts.append(f"{model}: {mean:+.4f} nats per token over {count} streams (standard deviation {spread:.4f})")
    return "; ".join(parts) + "."


def _scaled() -> dict[str, dict]:
    return result("scale")["models"]


def _scale_row(name: str, found: dict) -> list[str]:
    ours, torch = found["ours"], found.get("torch")
    faster = found["frozen_float32"]["seconds"] / found["frozen_int8"]["seconds"]
    return [
        name + (" (random weights)" if found["random_weights"] else ""),
        f"{ours['seconds']:.2f}",
        f"{ours['cpu_seconds']:.2f}",
        f"{ours['anonymous_mb']:,}",
        f"{ours['file_mb']:,.0f}",
        f"{ours['prepare_seconds']:.0f}",
        f"{found['ours_cold']['seconds']:.2f} s",
        f"{found['frozen_int8']['seconds']:.2f} s, float32 {faster:.1f} times as long",
        f"{torch['seconds']:.2f}" if torch else "",
        f"{torch['anonymous_mb']:,}" if torch else "",
    ]


NIGHT_STAGES = ("training", "frozen layers", "losses in the trainer", "losses in llama.cpp", "all", "for each answer")


def night_table() -> str:
    """The processor's seconds of a night by stage, and the nights of simulated phones."""
    rows = []
    for name, found in _nights():
        random = " (random weights)" if name in _scaled() and _scaled()[name]["random_weights"] else ""
        costs = [f"{found['night'][stage]:,.0f}" for stage in NIGHT_STAGES[:-1]]
        each = f"{found['night'][NIGHT_STAGES[-1]]:.1f}"
        phones = [_phone_cell(phone) for phone in found["phones"].values()]
        rows.append([name + random, *costs, each, *phones])
    slower = ["nights, windows" if n == "1" else f"{n} times slower" for n in next(iter(_nights()))[1]["phones"]]
    return table(["model", *NIGHT_STAGES, *slower], rows)


def _nights() -> list[tuple[str, dict]]:
    """The models' nights, the smallest first."""
    models = result("night")["models"]
    return sorted(models.items(), key=lambda one: one[1]["night"]["all"])


def _phone_cell(phone: dict) -> str:
    nights, most = f"{phone['nights']:.0f}", f"{phone['nights_95']:.0f}"
    return f"{nights}{f' (95%: {most})' if most != nights else ''}, {phone['slices']:.1f}"


def night_warm_sentence() -> str:
    """What heat did to the simulated phones."""
    phones = [phone for _, found in _nights() for phone in found["phones"].values()]
    shares, warm = ([phone[name] for phone in phones] for name in ("share_too_warm", "phones_too_warm"))
    count = phones[0]["phones"]
    return (
        f"Of {count} simulated phones {min(warm)} to {max(warm)} were too warm at some time, by model and speed. Of all"
        f" quarter hours in which they could have learned, {min(shares):.0%} to {max(shares):.0%} went by cooling down."
    )


def real_night_table() -> str:
    """Real models on real conversations, before and after a night, in nats per byte of the held-out responses."""
    head = ["conversations", "model", "answers", "before", "after", "falls by", "in the trainer", "after"]
    return table(
        [*head, "adapter scale", "CPU s", "peak MB"],
        [_real_night(one) for one in result("real_night")["nights"].values()],
    )


def _real_night(found: dict) -> list[str]:
    engine, trainer = found["engine"], found["trainer"]
    return [
        found["stream"].strip("/").replace("_", " "),
        found["model"],
        str(found["answers"]),
        *(f"{loss:.3f}" for loss in (engine["before"], engine["after"])),
        f"{1 - engine['after'] / engine['before']:.1%}",
        *(f"{loss:.3f}" for loss in (trainer["before"], trainer["after"])),
        f"{found['adapter_scale']:g}" if found["promoted"] else "not promoted",
        f"{found['cpu_seconds']:.0f}",
        f"{found['peak_mb']:,.0f}",
    ]


def night_load() -> str:
    loads = [found["load"] for _, found in _nights()]
    cores = result("night")["machine"]["cores"]
    busy = max(loads) > cores / 2
    return (
        f"Other programs were running (load {max(loads):.0f} on {cores} cores)." if busy else "The machine was quiet."
    )


def neighbours_sentence() -> str:
    """What the limit beside busy programs is made of."""
    found = result("busy_neighbours")
    limits, reached = found["limits"], found["works"]
    parts = []
    for work in ("chat", "embedding"):
        one, two, limit = (f"{limits[work][name]:.2f}" for name in ("one", "fixed", "limit"))
        adaptive, fixed = (f"{reached[work]['3'][side]['of_fair_share']:.2f}" for side in ("adaptive", "fixed"))
        parts.append(
            f"{work}: {one} s with one thread, {two} s with two, so at most {limit} of the fair share"
            f" ({adaptive} reached, {fixed} with two threads)"
        )
    return (
        "Beside three busy programs one thread has half a core, where the fair share of two is 0.8 of one. On a quiet"
        f" machine {'; '.join(parts)}."
    )


MEMORY = {"locomo": "LoCoMo", "longmemeval_s": "LongMemEval-S", "prefeval": "PrefEval", "personamem": "PersonaMem"}


def retrieval_table(found: dict) -> str:
    """What retrieval by words and by words and embeddings gains beside retrieval by embeddings, by data set and over
    all."""
    head = ["conversations", "found by", "streams", "exchanges", "gain", "by embeddings", "more (95%)"]
    told = {"words": "words", "fused": "words and embeddings, fused"}
    rows = [
        [
            name.replace("_", " "),
            told[arm],
            part["streams"],
            part["exchanges"],
            f"{part['gain']:.3f}",
            f"{part['embeddings']:.3f}",
            f"{part['more']:+.3f} ({part['low']:+.3f} .. {part['high']:+.3f})",
        ]
        for name, arms in found.items()
        if name != "machine"
        for arm, part in arms.items()
        if part["exchanges"]
    ]
    return table(head, rows)


SMALL, GEMMA = "smollm2-135m-instruct-q4_1", "gemma-3-270m-q4_k_m"
GROUPS = {"all": "all streams", "untouched": "those that nothing was chosen on"}


def learning_retrieval_table() -> str:
    """What retrieval by words gains over the base and over the adapter, and how much more that is than retrieval by
    embeddings gained in version 0.2, by data set."""
    columns = [
        "retrieval",
        "more than by embeddings (95%)",
        "adapter",
        "with retrieval",
        "added, more than by embeddings",
    ]
    rows = []
    for name, group in _learned(SMALL)["retrieval"].items():
        alone, more, added, more_added = (
            group[arm][of] for arm in ("base", "as it comes") for of in ("gain", "than embeddings")
        )
        adapter = group["adapter"]["more"]
        gains = [f"{alone['more']:.3f}", _interval(more), f"{adapter:.3f}", f"{adapter + added['more']:.3f}"]
        told = GROUPS.get(name, name.replace("_", " "))
        rows.append([told, group["streams"], group["exchanges"], *gains, _interval(more_added)])
    return table(["conversations", "streams", "exchanges", *columns], rows)


def learning_taps_table(run: str = "learning") -> str:
    """What each way to answer gains over the base, and how much more than 32 typed answers. `run`, here and below:
    "learning" on a GPU, or "learning_cpu"."""
    by_group = _learned(SMALL, run)["taps"]
    rows = [
        [
            arm,
            f"{part['gain']['more']:.3f}",
            *(_interval(by_group[name][arm]["than typed"]) if name in by_group else "" for name in GROUPS),
        ]
        for arm, part in by_group["all"].items()
    ]
    of = [_counts(by_group[name]["32 typed"]) for name in GROUPS if name in by_group]
    head = ["the user gave", "gain", "more than 32 typed (95%)", "the same, streams that nothing was chosen on"]
    return table(head, rows) + f"\n\n{of[0].capitalize()}; nothing was chosen on {of[-1]}."


def learning_thumbs_table(run: str = "learning_cpu") -> str:
    """What thumbs up gain over the base, and how much more than the typed answers alone, over all and by data set."""
    by_group = _learned(SMALL, run)["thumbs"]
    rows = [
        [arm, f"{part['gain']['more']:.3f}", *(_interval(group[arm]["than typed"]) for group in by_group.values())]
        for arm, part in by_group["all"].items()
        if all(arm in group for group in by_group.values())
    ]
    of = [_counts(by_group[name]["16 typed"]) for name in GROUPS if name in by_group]
    columns = [GROUPS.get(name, name.replace("_", " ")) for name in by_group]
    columns[0] = "more than 16 typed (95%), all"
    return (
        table(["the user gave", "gain", *columns], rows) + f"\n\n{of[0].capitalize()}; nothing was chosen on {of[-1]}."
    )


def learning_changes_table(
    kind: str, model: str = SMALL, ways: tuple[str, ...] = ("alone",), run: str = "learning"
) -> str:
    """How much more a changed training gains than the product as it comes, judged alone or as it is served."""
    found = _learned(model, run)[kind]
    by_group, sizes = (found["groups"], found["parameters"]) if kind == "forms" else (found, {})
    rows = [["as it comes", f"{sizes['as it comes']:,}", "", ""]] if sizes else []
    for arm, part in by_group["all"].items():
        form = arm.removeprefix("form: ")
        told = [f"{sizes[form]:,}"] if sizes else []
        each = [_interval(by_group[name][arm][way]) for way in ways for name in GROUPS if name in by_group]
        rows.append([form, *told, *each])
    named = {"alone": "adapter alone", "words": "with retrieval"}
    columns = [f"{named[way]}, {GROUPS[name]}" for way in ways for name in GROUPS if name in by_group]
    of = [_counts(by_group[name][arm]) for name in GROUPS if name in by_group]
    head = [kind.replace("_", "-"), *(["parameters"] if sizes else []), *columns]
    return table(head, rows) + f"\n\n{of[0].capitalize()}; nothing was chosen on {of[-1]}."


def paraphrases_table(model: str = GEMMA) -> str:
    """How many paraphrases pass, and how much more is gained with them than with the answers alone, by data set."""
    columns = ["as it comes", "in the rows of the answers alone", "in the rows of both"]
    head = ["conversations", "streams", "held out", "pass", "answers gain", "rows", "rows with paraphrases"]
    rows = []
    for name, part in result("paraphrases")["models"][model].items():
        passed = f"{part['written']['accepted']} of {part['written']['asked']}"
        counts = [part["streams"], part["exchanges"], passed, f"{part['gain']['more']:.3f}"]
        more = [_interval(each) for each in part["more"].values()]
        rows.append([GROUPS.get(name, name.replace("_", " ")), *counts, *part["rows"].values(), *more])
    return table([*head, *(f"more with paraphrases, {column}" for column in columns)], rows)


def paraphrases_sentence(model: str = GEMMA) -> str:
    """What was wrong with the others, and what paraphrases cost."""
    part = result("paraphrases")["models"][model]["all"]
    asked, dropped = part["written"]["asked"], part["written"]["dropped"]
    reasons = ", ".join(f"{name} {count / asked:.0%}" for name, count in dropped.items())
    alone, both, written = part["cpu_seconds"].values()
    return (
        f"{part['written']['accepted'] / asked:.0%} of the paraphrases pass; the others are dropped: {reasons}."
        f" Writing them takes {written:.0f} s of one core for a stream's answers, training {both:.0f} s"
        f" instead of {alone:.0f} s."
    )


def gentler_table(model: str = GEMMA) -> str:
    """How much more is gained at a lower learning rate and in fewer rows than as it comes, by data set."""
    rows = []
    for arm, groups in result("paraphrases")["gentler"][model].items():
        for name, part in groups.items():
            told = [arm.removeprefix("answers, "), GROUPS.get(name, name.replace("_", " "))]
            rows.append([*told, part["streams"], part["exchanges"], _interval(part)])
    return table(["answers with", "conversations", "streams", "held out", "gain more (95%)"], rows)


def learning_measured(run: str = "learning") -> str:
    """Where the adapters of these tables were trained, and how far the product's own trainer is from that."""
    found = result(run)
    adapters, beside = sum(model["adapters"] for model in found["models"].values()), _learned(SMALL, run)["product"]
    return (
        f"{adapters:,} adapters on {', '.join(found['devices'])} (`make bench-learning`, {found['machine']['date']},"
        f" commit {found['machine']['commit']})." + (f" {_beside_the_product(beside)}" if beside else "")
    )


def _beside_the_product(found: dict) -> str:
    told = [
        f"{part['mean']:+.4f} nats per token {name} (at most {part['largest']:.4f} on a stream)"
        for name, part in (("as it comes", found["as it comes"]), ("in float32", found["float32"]))
    ]
    streams = next(iter(found.values()))["streams"]
    return f"Of {streams} of them the product's own trainer changes the held-out loss by {' and '.join(told)}."


def _learned(model: str, run: str = "learning") -> dict:
    return result(run)["models"][model]


def _interval(part: dict) -> str:
    return f"{part['more']:+.3f} ({part['low']:+.3f} .. {part['high']:+.3f})"


def _counts(part: dict) -> str:
    return f"{part['streams']} streams of {part['data_sets']} data sets, {part['exchanges']} exchanges held out"


FLEETS = {  # which fleets a table has
    "plain": is_plain,
    "private": is_private,
    "poisoned": lambda row: bool(row["poison"]),
    "others": lambda row: not (is_plain(row) or is_private(row) or row["poison"]),
}


def fleet_table(which: str, owns: tuple[int, ...] = (0, 8, 32), rounds: tuple[int, ...] = (1, 3, 10)) -> str:
    """Users outside of fleets: what the fleet's adapter makes of their held-out loss, with 95 % intervals."""
    rows = [
        [
            *(row["dataset"], fleet_told(row), row["round"], row["own"], row["users"], f"{row['from_nothing']:.3f}"),
            *(_less(row, name) for name in ("as_it_is", "trained", "gated")),
            f"{row['taken']:.0%}",
        ]
        for row in sorted(result("fleet")["table"], key=lambda row: (row["dataset"], row["phones"], fleet_told(row)))
        if FLEETS[which](row) and row["own"] in owns and row["round"] in rounds
    ]
    head = ["data", "fleet", "rounds", "own answers", "users", "from nothing", "fleet's adapter as it is"]
    return table([*head, "trained from it", "as the gates leave it", "taken"], rows)


def fleet_poison_table() -> str:
    """One poisoned phone of eight beside none, at the same bound, after one round: users' gain, and how much likelier
    what the poisoned phone teaches became."""
    rows = [row for row in result("fleet")["table"] if row["own"] == 0 and row["round"] == 1 and row["phones"] == 8]
    rows = [row for row in rows if row["form"] == "whole" and not row["epsilon"] and "hostile" in row]
    told = [
        [row["dataset"], row["poison"] or "none", f"{row['clip']:g}", _less(row, "as_it_is"), f"{row['hostile']:+.3f}"]
        for row in sorted(rows, key=lambda row: (row["dataset"], row["clip"], row["poison"]))
    ]
    return table(["data", "poisoned", "clipped at", "held-out loss less that from nothing", "loss of a refusal"], told)


def fleet_measured() -> str:
    found = result("fleet")
    machine = found["machine"]
    return f"`make bench-fleet`, {found['engine']}, {machine['date']}, commit {machine['commit']}."


def _less(row: dict, name: str) -> str:
    """A difference from nothing with its interval; nothing where it was not measured."""
    if f"{name}_less" not in row:
        return ""
    return f"{row[f'{name}_less']:+.3f} ({row[f'{name}_low']:+.3f} .. {row[f'{name}_high']:+.3f})"


def recall_table(found: dict) -> str:
    """Recall of the evidence for each data set that was at hand, and ours more than each other at 3."""
    rows = []
    for name, part in found.items():
        for system, shares in part.get("recall", {}).items() if name in MEMORY else ():
            more = part["ours_more_at_3"].get(system)
            told = f"{more['more']:+.1%} ({more['low']:+.1%} .. {more['high']:+.1%})" if more else ""
            label = f"{MEMORY[name]}: {part['questions']:,} questions, {part['exchanges']:,} exchanges"
            rows.append([label, system, *(f"{share:.0%}" for share in shares.values()), told])
    return table(["data", "system", "at 1", "at 3", "at 5", "at 10", "ours, more at 3 (95%)"], rows)


def memory_sentence(found: dict) -> str:
    """What the base model makes of what is found: LoCoMo's F1, and the share of right choices."""
    told = []
    for name, label in MEMORY.items():
        if answers := found.get(f"{name}_answers"):
            scores = ", ".join(f"{score:.3f} with {system}" for system, score in answers["f1"].items())
            told.append(f"{label}'s F1 of {answers['questions']} greedy answers: {scores}.")
        if choices := found.get(f"{name}_choices"):
            shares = ", ".join(f"{share:.0%} with {system}" for system, share in choices["right"].items())
            told.append(
                f"Right choices of {choices['questions']} in {label}, {choices['chance']:.0%} by chance: {shares}."
            )
    return " ".join(told)


def first_token_sentence() -> str:
    """What retrieval adds to the wait for the first token."""
    found = result("first_token")
    ms, times = found["ms"], found["times_as_long"]
    return (
        f"Beside {found['answers']} answers, medians of {found['messages']} messages: finding takes"
        f" {ms['finding']:.1f} ms of one core where the prompt takes"
        f" {ms['first_without']:.0f} ms to the first token: {times['finding']:.3f} times as long as without. The second"
        f" reading of the message that it replaces took {ms['embedding']:.0f} ms: {times['embedding']:.2f} times. The"
        f" few-shot turns themselves have to be read: {times['first']:.1f} times as long at the first message of a"
        f" conversation, {times['later']:.2f} times at a later one whose turns stay"
        f" (`make bench-first-token`, {measured('first_token')})."
    )


def short_table() -> str:
    """The README's table: one line a claim, with the command that measures it."""
    return table(
        ["", "measured", "`make`"],
        [
            ["It learns", _demo_sentence(), "`demo`"],
            ["On real conversations", _selection_sentence(), "`bench-selection`"],
            ["Training", _training_sentence(), "`bench-train`"],
            ["Beside QVAC", _qvac_sentence(), "`bench-qvac`"],
            ["Answering", _latency_sentence(), "`bench-latency`"],
            ["Faults", _faults_sentence(), "`bench-faults`"],
        ],
    )


def demo_table() -> str:
    """Before and after of the embedded story."""
    d = result("demo")
    base, adapted, retrieved, probe = d["base"], d["adapted"], d["with_retrieval"], d["general_probe"]
    return table(
        ["", "base", "adapted", "with retrieval"],
        [
            [
                f"loss of {d['held_out_exchanges']} held-out exchanges, trainer (nats per token)",
                f"{base['nll_trainer']:.3f}",
                f"{adapted['nll_trainer']:.3f}",
                "",
            ],
            ["the same, llama.cpp", *(f"{side['nll_llama_cpp']:.3f}" for side in (base, adapted, retrieved))],
            ["ROUGE-1 of greedy answers to them", *(f"{side['rouge1']:.3f}" for side in (base, adapted, retrieved))],
            ["loss on general text", f"{probe['base']:.3f}", f"{probe['adapted']:.3f}", ""],
        ],
    )


def demo_time() -> str:
    d = result("demo")
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in d["seconds"].items() if seconds >= 1)
    return (
        f"{d['asked']} answers of the user, {d['seconds']['training']:.0f} s of training,"
        f" {d['wall_seconds']:.0f} s in all ({stages}), {d['peak_rss_mb']:.0f} MB at the peak"
        f" (`make bench-demo`, {measured('demo')})."
    )


def demo_answers(which: tuple[int, ...] = (0, -1)) -> str:
    """The answers before and after, of so many of the demo's three."""
    blocks = result("demo")["answers"].split("\n\n")
    return "```\n" + "\n\n".join(blocks[i] for i in which) + "\n```"


def page_sentence() -> str:
    """Opening the page: time and bytes."""
    found = result("page")
    first, later = found["first"], found["later"]
    return (
        f"The page opens in {first['median_ms']} ms the first time ({first['bytes'] / 1000:.0f} kB over the wire,"
        f" headers and the state included) and in {later['median_ms']} ms later. These are medians of"
        f" {found['openings']} openings in Chromium until one can write a message, beside other work on the same two"
        " cores (`make bench-page`)."
    )


def training_table() -> str:
    """A step beside torch + PEFT: with plenty of memory, with the smallest budget, and with the default settings."""
    rows = []
    for case, name in ROWS.items():
        sides = result("train_speed")["cases"][case]
        ours, small, theirs = sides["ours"], sides["ours_small"], sides["torch_fp32"]
        rows.append(
            [
                name,
                f"{ours['seconds']:.2f}",
                f"{theirs['seconds']:.2f}",
                f"{theirs['ours_is_faster_by']:.1f}x",
                f"{small['peak_mb']:,}",
                f"{small['seconds']:.2f}",
                f"{theirs['peak_mb']:,}",
                f"{sides['default_first']['seconds']:.2f}",
                f"{sides['default_later']['seconds']:.2f}",
            ]
        )
    head = ["sequence of", "s a step", "torch + PEFT fp32", "faster by", "smallest MB", "s a step there", "torch's MB"]
    return table([*head, "default settings, first epoch", "later"], rows)


def beside_sentence() -> str:
    """How this version's steps compare with an older one's, over all cases and sides."""
    found = result("train_speed_beside")
    pairs = [pair for sides in found["cases"].values() for pair in sides.values()]
    times = [pair["times_as_long"] for pair in pairs]
    more = [pair["here"]["peak_mb"] - pair["there"]["peak_mb"] for pair in pairs]
    return (
        f"In turn with steps of commit {found['there']}, a step takes {min(times):.2f} to {max(times):.2f} times as"
        f" long (median of {len(times)} pairs {median(times):.2f}), with {min(more):+} to {max(more):+} MB at the peak"
        f" (`benchmarks/train_speed.py --beside`, {measured('train_speed_beside')})."
    )


def quality_sentence() -> str:
    q = result("train_quality")
    ours, theirs, default = q["idletune"], q["torch_peft"], q["as_it_comes"]
    return (
        f"After {len(ours['training'])} steps on the same sequences the held-out loss falls {ours['before']:.3f} ->"
        f" {ours['after']:.3f} nats per token, with torch + PEFT to {theirs['after']:.3f} ({q['apart']:.3%} apart: the"
        f" frozen products are int8). With the default settings it falls to {default['after']:.3f}."
    )


def resume_sentence() -> str:
    r = result("train_resume")
    return (
        f"Of {r['kills']} trainings killed with SIGKILL at random moments, {r['bit_identical']} resumed to the same"
        f" bits; with a checkpoint after each micro-step at most {r['most_steps_lost']} was lost."
    )


def selection_table(fresh: bool = False) -> str:
    """The product beside the best other policy's adapter, by data set."""
    rows = []
    for row in result("selection")["fresh_compared" if fresh else "compared"]:
        gains = [f"{row[key]:.3f}" for key in ("adapter", "retrieval", "ours")]
        over = f"{row['more']:+.3f} ({row['low']:+.3f} .. {row['high']:+.3f})"
        best = f"{label_of(row['best'])} {row['best_gain']:.3f}"
        rows.append([row["data"].replace("_", " "), f"{row['base']:.3f}", best, *gains, over])
    head = ["conversations", "base loss", "best other adapter", "our adapter", "retrieval", "both"]
    return table([*head, "both, more than that other (95%)"], rows)


def selection_cells() -> str:
    found = result("selection")
    return f"{found['cells']} of {found['of']} cells of the grid have run (`make bench-selection`)."


def import_table() -> str:
    """What an imported past is worth, beside the same typed answers without it."""
    rows = []
    for stream in result("import_worth")["streams"]:
        typed, past = stream["typed"], stream["with_past"]
        means = [_mean(losses) for losses in (typed["base"], typed["adapted"], past["adapted"])]
        changes = [later - earlier for later, earlier in zip(past["adapted"], typed["adapted"])]
        change = f"{_mean(changes):+.3f} +- {_half_interval(changes):.3f}"
        rows.append([stream["stream"].strip("/"), past["answers"], *(f"{mean:.3f}" for mean in means), change])
    head = ["stream", "answers with the past", "base", "32 typed", "with the past", "difference (95%)"]
    return table(head, rows) + f"\n\n`make bench-import`, {measured('import_worth')}." + _import_mean()


def _import_mean() -> str:
    """The mean over streams, where there are several."""
    found = result("import_worth")
    mean, streams = found["summary"], len(found["streams"])
    if streams < 2:
        return ""
    return (
        f" Mean over {streams} streams: {mean['difference']:+.3f} +- {mean['error']:.3f} nats per token,"
        f" {mean['better']} of {streams} better."
    )


def _half_interval(values: list[float]) -> float:
    """Half of a 95% interval of the mean."""
    return 1.96 * stdev(values) / len(values) ** 0.5


def import_speed_sentence() -> str:
    """How fast large files are read, and in how much memory."""
    found = result("import_speed")
    ours, chat, other = found["chatgpt"], found["whatsapp"], found["ijson, Python"]
    return (
        f"A preview reads a ChatGPT export of {found['messages']:,} messages ({ours['megabytes']} MB) in"
        f" {ours['processor_seconds']:.0f} s of one core and {ours['peak_mb']} MB at the peak, a WhatsApp chat of as"
        f" many lines in {chat['processor_seconds']:.0f} s and {chat['peak_mb']} MB. ijson in Python alone takes"
        f" {ours['mb_a_second'] / other['mb_a_second']:.0f} times as long for the JSON (`make bench-import`)."
    )


def import_fuzz_sentence() -> str:
    found = result("fuzz_imports")
    ends = found["ends"]
    return (
        f"Of {found['files']:,} mutated files of conversations {ends['read']:,} were read and all others ended in one"
        " line (`make bench-import`)."
    )


def _mean(losses: list[float]) -> float:
    return sum(losses) / len(losses)


def faults_sentence() -> str:
    f = result("faults")
    kinds = [f[kind] for kind in ("kills", "disk_full", "torn_writes")]
    resumed, interrupted = (sum(k[key] for k in kinds) for key in ("resumed_bit_for_bit", "trainings_interrupted"))
    return (
        f"{kinds[0]['faults']} kills, {kinds[1]['faults']} full disks and {kinds[2]['faults']} torn writes in the whole"
        f" loop on a tiny random model: {sum(k['answers_lost'] for k in kinds)} answers lost,"
        f" {sum(k['half_adapters'] for k in kinds)} half adapters served, {resumed} of {interrupted} interrupted"
        " trainings resumed to the same bits, opening took"
        f" {max(k['startup_ms_longest'] for k in kinds):.0f} ms at the longest."
    )


def fuzz_sentence() -> str:
    f, b = result("fuzz_windows"), result("fuzz_bridge")
    return (
        f"{f['states']:,} wrong device states opened {f['wrongly_open']} windows that they should not, and of"
        f" {f['replies']:,} hostile notification replies {f['executed']} ran anything (`make bench-fuzz`)."
        f" The C library took {b['calls']:,} calls of every kind from 8 threads under AddressSanitizer without a crash"
        " or a leak (`make fuzz-bridge`)."
    )


def bridge_sentence() -> str:
    bridge, binding = result("bridge_cost"), result("binding_cost")
    return (
        f"A streamed chat through Java, JNI and C runs at {bridge['streamed_share']:.3f} of the speed of Python's; a"
        f" training step on ONNX Runtime's C library takes {binding['library_by_package']:.3f} times the package's"
        f" (`make bench-bridge`, {measured('bridge_cost')})."
    )


def latency_sentence() -> str:
    return f"{_latency_sentence()} (`make bench-latency`, {measured('latency-host')})."


def emulation_sentence() -> str:
    found = result("latency-qemu-aarch64")
    apart = [(name, row["difference"]) for run in found["parity"].values() for name, row in run.items()]
    trainer, engine = (max(d for name, d in apart if ("llama.cpp" in name) == of) for of in (False, True))
    return (
        f"In an emulated arm64 user space the trainer's losses are the host's within {trainer:.1e} nats,"
        f" llama.cpp's within {engine:.1e} (commit {found['commit']}). Emulated times say nothing of a phone."
    )


def observe_sentence() -> str:
    o = result("observe_cost")
    return (
        f"To score an exchange costs {o['observe_ms']:.1f} ms, {o['observe_share']:.1%} of the time of its reply"
        f" (`make bench-observe`, {measured('observe_cost')})."
    )


def _demo_sentence() -> str:
    d = result("demo")
    probe = d["general_probe"]["adapted"] / d["general_probe"]["base"] - 1
    return (
        f"{d['asked']} answers and {d['seconds']['training']:.0f} s of training take the held-out loss from"
        f" {d['base']['nll_trainer']:.3f} to {d['adapted']['nll_trainer']:.3f} nats per token;"
        f" general text {probe:+.1%}"
    )


def _selection_sentence() -> str:
    rows = [*result("selection")["compared"], *result("selection")["fresh_compared"]]
    gains, shares = [row["ours"] for row in rows], [row["more"] / row["best_gain"] for row in rows]
    return (
        f"32 answers lower the held-out loss by {min(gains):.2f} to {max(gains):.2f} nats, adapter and retrieval"
        f" together: {min(shares):.0%} to {max(shares):.0%} more than the best other policy's adapter"
    )


def _training_sentence() -> str:
    cases = result("train_speed")["cases"].values()
    faster = [case["torch_fp32"]["ours_is_faster_by"] for case in cases]
    times = [case["ours_small"]["seconds"] / case["torch_fp32"]["seconds"] for case in cases]
    memory = [case["ours_small"]["peak_mb"] / case["torch_fp32"]["peak_mb"] for case in cases]
    return (
        f"{min(faster):.1f}x to {max(faster):.1f}x as fast as torch 2.13 + PEFT; or in {min(memory):.0%} to"
        f" {max(memory):.0%} of its memory, at {min(times):.1f} to {max(times):.1f} times its time"
    )


def _qvac_sentence() -> str:
    q = result("train_qvac")["models"]["Gemma 3 270M"]
    return (
        f"{q['faster_by']:.1f}x as fast as QVAC, the one peer that trains GGUF files on phones, in"
        f" {q['ours']['peak_mb'] / q['qvac']['peak_mb']:.0%} of its memory (Gemma 3 270M Q8_0)"
    )


def _latency_sentence() -> str:
    found = {name: row["median"] for name, row in result("latency-host")["measures"].items()}
    return (
        f"starts in {found['start-up']:,.0f} ms, swaps an adapter in {found['adapter swap']:.0f} ms, decodes at"
        f" {found['decode, of plain llama.cpp']:.3f} of plain llama.cpp's speed"
    )


def _faults_sentence() -> str:
    f = result("faults")
    kinds = ("kills", "disk_full", "torn_writes")
    return (
        f"{f['kills']['faults']} kills, {f['disk_full']['faults']} full disks, {f['torn_writes']['faults']} torn"
        f" writes: {sum(f[kind]['answers_lost'] for kind in kinds)} answers lost,"
        f" {sum(f[kind]['half_adapters'] for kind in kinds)} half adapters served"
    )
