"""Gains as Markdown."""

from collections.abc import Sequence

from .gains import SYNTHESIS, label_of


def comparison(rows: list[dict]) -> str:
    """`compare` as Markdown."""
    lines = [
        "| data set | users | base loss | best baseline | its gain | ours: adapter | retrieval | both | "
        "both, more than the baseline (95 %) | more than any baseline with retrieval (95 %) "
        f"| {SYNTHESIS} paraphrases add to the adapter (95 %) | general loss |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        synthesis = ""
        if "synthesis" in r:
            synthesis = f"{r['synthesis']:+.3f} ({r['synthesis_low']:+.3f} .. {r['synthesis_high']:+.3f})"
        lines.append(
            f"| {r['data']} | {r['users']} | {r['base']:.3f} | {label_of(r['best'])} "
            f"| {r['best_gain']:.3f} | {r['adapter']:.3f} | {r['retrieval']:.3f} | {r['ours']:.3f} "
            f"| {r['more'] / r['best_gain']:+.0%}: {r['more']:+.3f} ({r['low']:+.3f} .. {r['high']:+.3f}) "
            f"| {r['same']:+.3f} ({r['same_low']:+.3f} .. {r['same_high']:+.3f}) | {synthesis} "
            f"| {r['forgetting']:+.1%} |"
        )
    return "\n".join(lines)


def overall_table(rows: list[dict]) -> str:
    """`overall` as Markdown."""
    lines = ["| method | adapter | retrieval | both |", "|---|---|---|---|"]
    for r in rows:
        lines.append(
            f"| {r['method']} | {r['adapted']:.3f} | {r['retrieval']:.3f} | {r['retrieval_adapted']:.3f} |"
        )
    return "\n".join(lines)


def ceiling_table(rows: list[dict]) -> str:
    """`ceiling` as Markdown."""
    lines = ["| stream | answers | more than ours (95 %) |", "|---|---|---|"]
    for r in rows:
        more = f"{r['more']:+.3f} ({r['low']:+.3f} .. {r['high']:+.3f})"
        lines.append(f"| {r['stream'].strip('/')} | {r['asked']} | {more} |")
    return "\n".join(lines)


def recipe_table(rows: list[dict]) -> str:
    """`recipes` as Markdown; of two figures the second is as the product comes."""
    lines = ["| data set | settings | runs | adapter | with retrieval | general loss |", "|---|---|---|---|---|---|"]
    for r in rows:
        adapter, both = (" for ".join(f"{gain:.3f}" for gain in r[of]) for of in ("adapted", "retrieval_adapted"))
        rise = " for ".join(f"{each:+.1%}" for each in r["forgetting"])
        lines.append(f"| {r['data']} | {r['recipe']} | {r['runs']} | {adapter} | {both} | {rise} |")
    return "\n".join(lines)


def series_table(followed: list[dict], heads: Sequence) -> str:
    """`series` as Markdown, a column for each value."""
    lines = [f"| stream | method | {' | '.join(map(str, heads))} |", "|---|---" + "|---" * len(heads) + "|"]
    for curve in followed:
        points = " | ".join(f"{gain:.3f}" for gain in curve["gains"])
        lines.append(f"| {curve['stream'].strip('/')} | {label_of(curve['policy'])} | {points} |")
    return "\n".join(lines)


def table(rows: list[dict], against: str = "random") -> str:
    """Markdown, one line for each row."""
    lines = [
        f"| stream | bins | method | seeds | asked | loss fell by (95 %) | more than {against} (95 %) "
        "| retrieval alone | with adapter | ROUGE-1 | general loss |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        over = f"{r['over']:+.3f} ({r['over_low']:+.3f} .. {r['over_high']:+.3f})" if "over" in r else ""
        retrieval = [f"{r[name]:.3f}" if name in r else "" for name in ("retrieval", "retrieval_adapted")]
        rouge = f"{r['rouge1_base']:.3f} -> {r['rouge1']:.3f}" if "rouge1" in r else ""
        rouge += f", {r['rouge1_both']:.3f} with retrieval" if "rouge1_both" in r else ""
        lines.append(
            f"| {r['stream'].strip('/')} | {r['bins']} | {r['method']} | {r['seeds']} | {r['asked']} "
            f"| {r['gain']:.3f} ({r['low']:.3f} .. {r['high']:.3f}) of {r['base']:.3f} | {over} "
            f"| {retrieval[0]} | {retrieval[1]} | {rouge} | {r['forgetting']:+.1%} |"
        )
    return "\n".join(lines)
