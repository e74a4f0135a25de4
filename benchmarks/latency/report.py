"""A result as a Markdown table and as a picture."""

from pathlib import Path

GOALS = {  # on the host, with the 135M model: at least or at most
    "decode, of plain llama.cpp": (">=", 0.97),
    "observe, share of a reply": ("<=", 3.0),
    "adapter swap": ("<=", 50.0),
    "start-up": ("<=", 1500.0),
}


def markdown(result: dict) -> str:
    """The table of one target, with what it was measured on."""
    about, versions = result["environment"], result["environment"]["versions"]
    kind = "**Emulated: no figure here says anything of a phone.**" if result["emulated"] else "Not emulated."
    lines = [
        f"# Latency on {result['target']}",
        "",
        f"{kind} Model {result['model']}, threads: {result['threads'] or 'all cores'}.",
        f"{about['cores']} cores ({about['cpu']}, {about['abi']}), kernel {about['kernel']}, "
        f"load {about['load'][0]} at the start; " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".",
        f"Commit {result['commit']}, {result['date']}; `{result['command']}`.",
        "p90: nine of ten samples were no worse, that is no slower.",
        "",
        "| measure | unit | median | p90 | MAD | N | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["measures"].items():
        figures = " | ".join(f"{row[key]:.4g}" for key in ("median", "p90", "mad"))
        lines.append(f"| {name} | {row['unit']} | {figures} | {row['n']} | {goal(result, name)} |")
    lines += [f"| peak memory, {part} | MB | {mb:.0f} | | | 1 | |" for part, mb in result["peak_mb"].items()]
    if "decode, of plain llama.cpp" in result["measures"]:
        lines += ["", "Plain llama.cpp decodes in turns with ours, in a process of their own; `decode` is of another."]
    for title, losses in result["parity"].items():
        lines += ["", f"{title}, beside the host:", "", "| loss, nats | host | here | apart |", "|---|---|---|---|"]
        lines += [f"| {k} | {v['here']:.6f} | {v['there']:.6f} | {v['difference']:.1e} |" for k, v in losses.items()]
    return "\n".join(lines) + "\n"


def goal(result: dict, name: str) -> str:
    """The goal of a measure and whether it is met; empty where there is none, and under emulation."""
    if name not in GOALS or result["emulated"]:
        return ""
    sign, bound = GOALS[name]
    median = result["measures"][name]["median"]
    met = median >= bound if sign == ">=" else median <= bound
    return f"{sign} {bound:g}: {'met' if met else 'missed'}"


def draw(result: dict, path: Path) -> None:
    """Medians and the way to what nine of ten samples are no worse than, times and rates apart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, both = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axes, unit in zip(both, ("ms", "tokens/s")):
        rows = {name: row for name, row in result["measures"].items() if row["unit"] == unit}
        for name, row in rows.items():
            axes.plot([row["median"], row["p90"]], [name, name], color="tab:blue")
            axes.plot(row["median"], name, "o", color="tab:blue")
        axes.grid(axis="x", color="0.9")
        axes.set(xscale="log", xlabel=f"{unit}, median (dot) and p90")
        axes.invert_yaxis()
    figure.suptitle(f"{result['target']}{' (emulated)' if result['emulated'] else ''}, {result['model']}")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
