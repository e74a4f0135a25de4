"""Gains as Markdown."""

from collections.abc import Sequence

from .gains import SYNTHESIS, label_of


def with_interval(figures: dict, name: str = "more", low: str = "low", high: str = "high") -> str:
    """A difference and its interval."""
    return f"{figures[name]:+.3f} ({figures[low]:+.3f} .. {figures[high]:+.3f})"


def comparison(rows: list[dict]) -> str:
    """`compare` as Markdown."""
    lines = [
        "| data set | streams | runs | base loss | best baseline | its gain | ours: adapter | retrieval | both | "
        "both, more than the baseline (95 %) | best baseline with retrieval | both, more than that (95 %) "
        f"| {SYNTHESIS} paraphrases add to the adapter (95 %) | general loss |",
        "|---" * 14 + "|",
    ]
    for r in rows:
        names = ("synthesis", "synthesis_low", "synthesis_high")
        synthesis = with_interval(r, *names) if "synthesis" in r else ""
        lines.append(
            f"| {r['data']} | {r['streams']} | {r['runs']} | {r['base']:.3f} | {label_of(r['best'])} "
            f"| {r['best_gain']:.3f} | {r['adapter']:.3f} | {r['retrieval']:.3f} | {r['ours']:.3f} "
            f"| {r['more'] / r['best_gain']:+.0%}: {with_interval(r)} | {label_of(r['equipped'])} "
            f"| {with_interval(r, 'same', 'same_low', 'same_high')} | {synthesis} | {r['forgetting']:+.1%} |"
        )
    return "\n".join(lines)


def overall_table(rows: list[dict]) -> str:
    """`overall` as Markdown."""
    lines = ["| method | adapter | retrieval | both | both, more than ours (95 %) |", "|---|---|---|---|---|"]
    for r in rows:
        more = with_interval(r) if "more" in r else ""
        lines.append(
            f"| {r['method']} | {r['adapted']:.3f} | {r['retrieval']:.3f} | {r['retrieval_adapted']:.3f} | {more} |"
        )
    return "\n".join(lines)


def ceiling_table(rows: list[dict]) -> str:
    """`ceiling` as Markdown."""
    lines = ["| stream | answers | after | adapter, more than ours (95 %) | both, more than ours (95 %) |"]
    lines += ["|---|---|---|---|---|"]
    for r in rows:
        adapter, both = (with_interval(r[of]) for of in ("adapted", "retrieval_adapted"))
        lines.append(f"| {r['stream'].strip('/')} | {r['asked']} | {r['after']} | {adapter} | {both} |")
    return "\n".join(lines)


def recipe_table(rows: list[dict]) -> str:
    """`recipes` as Markdown."""
    lines = ["| data set | settings | runs | adapter, more than as it comes (95 %) | both (95 %) | general loss |"]
    lines += ["|---|---|---|---|---|---|"]
    for r in rows:
        adapter, both = (with_interval(r[of]) for of in ("adapted", "retrieval_adapted"))
        rise = " beside ".join(f"{each:+.1%}" for each in r["forgetting"])
        lines.append(f"| {r['data']} | {r['recipe']} | {r['runs']} | {adapter} | {both} | {rise} |")
    return "\n".join(lines)


def series_table(followed: list[dict], heads: Sequence) -> str:
    """`series` as Markdown, a column for each value."""
    lines = [f"| stream | method | {' | '.join(map(str, heads))} |", "|---|---" + "|---" * len(heads) + "|"]
    for curve in followed:
        points = " | ".join(f"{gain:.3f}" for gain in curve["gains"])
        lines.append(f"| {curve['stream'].strip('/')} | {curve['method']} | {points} |")
    return "\n".join(lines)


def table(rows: list[dict], against: str = "random") -> str:
    """Markdown, one line for each row."""
    lines = [
        f"| stream | bins | method | seeds | asked | replaced | tokens | s | loss fell by (95 %) "
        f"| more than {against} (95 %) | retrieval alone | both (95 %) | ROUGE-1 | ROUGE-L | general loss |",
        "|---" * 15 + "|",
    ]
    for r in rows:
        over = with_interval(r, "over", "over_low", "over_high") if "over" in r else ""
        retrieval = f"{r['retrieval']:.3f}" if "retrieval" in r else ""
        both = f"{r['both']:.3f} ({r['both_low']:.3f} .. {r['both_high']:.3f})" if "both" in r else ""
        rouge = " | ".join(_rouge(r, kind) for kind in ("rouge1", "rougeL"))
        lines.append(
            f"| {r['stream'].strip('/')} | {r['bins']} | {r['method']} | {r['seeds']} | {r['asked']} "
            f"| {r['replaced']:.0f} | {r['tokens']:,.0f} | {r['training_seconds']:.0f} "
            f"| {r['gain']:.3f} ({r['low']:.3f} .. {r['high']:.3f}) of {r['base']:.3f} | {over} "
            f"| {retrieval} | {both} | {rouge} | {r['forgetting']:+.1%} |"
        )
    return "\n".join(lines)


def _rouge(row: dict, kind: str) -> str:
    """The base's, the adapter's and both's."""
    if kind not in row:
        return ""
    both = f", {row[f'{kind}_both']:.3f} with retrieval" if f"{kind}_both" in row else ""
    return f"{row[f'{kind}_base']:.3f} -> {row[kind]:.3f}{both}"
