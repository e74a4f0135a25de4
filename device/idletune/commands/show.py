"""What the command line prints: tables a person reads."""

import textwrap

from ..learning.synthesis import SynthesisReport
from ..local_time import local_time
from ..plain_text import one_line
from ..replay import ReplayReport
from ..replay.report import peak_rss_mb
from ..runtime.status import Status
from ..state.origins import told

DEMO_OPENING = """\
Maren, a veterinary nurse with a dog, a dinghy and a balcony, talks to her phone for a few weeks.
The phone keeps the exchanges worth learning from, asks her about a few, and learns at night.
This takes some minutes. At the end exchanges held out, which it never learned from, compare before and after.
"""
WIDTH = 100


def replay_table(report: ReplayReport) -> str:
    """Before and after, time and memory, and three answers side by side."""
    base, adapted, answers, learning = report.base, report.adapted, report.with_retrieval, report.learned
    played, evidence = report.played, learning.evidence
    lines = [
        "",
        f"{'':34}{'base':>10}{'adapted':>10}{'change':>10}" + (f"{'with retrieval':>18}" if answers else ""),
        _compared("held-out loss, trainer (nats)", base.nll_trainer, adapted.nll_trainer),
        _compared(
            "held-out loss, llama.cpp (nats)",
            base.nll_llama_cpp,
            adapted.nll_llama_cpp,
            answers.nll_llama_cpp if answers else None,
        ),
        _compared(
            f"ROUGE-1 of {len(base.answers)} answers", base.rouge1, adapted.rouge1, answers.rouge1 if answers else None
        ),
        _compared("general text loss, trainer (nats)", evidence.probe_base, evidence.probe_adapted),
        "",
        f"measured on {len(report.held_out)} held-out exchanges",
        f"selected {played.selected} of {played.seen} exchanges, asked about {played.asked}"
        + (f", refused {played.refused} oversized" if played.refused else ""),
        _synthesis_line(learning.synthesis),
        f"trained on {learning.trained_sets} answers, {learning.held_out_sets} kept for the gate; {learning.plan}",
        f"gate: {learning.verdict.outcome.value} at {learning.adapter_scale:.0%} of its scale,"
        f" {learning.verdict.reason}",
        _time_line(report),
    ]
    return "\n".join(lines) + "\n" + _answers(report)


def status_page(facts: Status, jobs: dict[str, dict] | None = None) -> str:
    """A line for each fact. `jobs` are the last runs of the jobs in Termux, by name."""
    adapter, learned = facts["adapter"], facts["last_learned"]
    prompts, buffer, answered = facts["prompts"], facts["buffer"], facts["answered"]
    rows = [
        ("model", facts["model"]),
        ("home", f"{facts['home']}{', encrypted' if facts['encrypted'] else ''}"),
        *([("int8 weights", f"{facts['quantized_mb']:,.0f} MB of files")] if facts["quantized_mb"] else []),
        ("serving", f"adapter {adapter['version']}, {adapter['reason']}" if adapter else "the base model alone"),
        *([("learned from", _origins(adapter))] if adapter else []),
        *([("held back", f"adapter {held['version']}: {held['reason']}")] if (held := facts["held_back"]) else []),
        *([("held back of", _origins(held))] if held else []),
        *([("dropped", f"adapter {gone['version']}: {gone['reason']}")] if (gone := facts["dropped"]) else []),
        ("buffer", f"{buffer['kept']} of {buffer['bins']} bins, {buffer['seen']} exchanges seen ({facts['policy']})"),
        *([("not kept", f"the last exchange: {facts['unobserved']}")] if facts["unobserved"] else []),
        (
            "answers",
            f"{answered['sets']}, {answered['not_yet_learned']} not learned from yet"
            + (", to be learned anew without what was forgotten" if facts["retrain_owed"] else ""),
        ),
        ("retrieval", _retrieval(facts["settings"])),
        ("questions", f"{prompts['waiting']} waiting, {prompts['asked_today']} asked today"),
        ("learning now", _learning(facts["learning"])),
        ("last slice", _slice(facts["learning"]["last"])),
        ("last learned", _learned(learned) if learned else "never"),
        *((f"job {name}", f"{_at(run['at'])}: {run['said']}") for name, run in (jobs or {}).items()),
    ]
    return "\n".join(f"{name:14}{value}" for name, value in rows)


def _origins(adapter: dict) -> str:
    if adapter["adopted"]:
        return "what it was made of elsewhere is not known here"
    known = told(adapter["origins"]) or "not known"
    return known + (f"; it started from adapter {adapter['parent_version']}" if adapter["parent_version"] else "")


def _retrieval(settings: dict) -> str:
    count, tokens = settings["retrieve"], settings["retrieve_tokens"]
    more = f", and more up to {tokens} tokens" if tokens else ""
    return f"the {count} nearest answers stand before a message{more}" if count else "off (setting retrieve)"


def _learning(facts: dict) -> str:
    state = "yes" if facts["running"] else "it may" if facts["open"] else "no"
    return f"{state}: {facts['reason']}"


def _slice(last: dict | None) -> str:
    if last is None:
        return "none yet"
    stopped = f"; stopped: {last['stopped_by']}" if last["stopped_by"] else ""
    return f"{_at(last['at'])}, {last['seconds']:.0f} s: {last['outcome']}{stopped}"


def _at(seconds: float) -> str:
    return local_time(seconds).strftime("%Y-%m-%d %H:%M")


def _learned(event: dict) -> str:
    verdict = "promoted" if event["promoted"] else "held back" if event.get("suspicious") else "rejected"
    return f"{_at(event['at'])}, {verdict}: {event['reason']}"


def _compared(label: str, base: float, adapted: float, with_retrieval: float | None = None) -> str:
    change = f"{adapted / base - 1:+10.1%}" if base else f"{'':>10}"
    more = "" if with_retrieval is None else f"{with_retrieval:18.3f}"
    return f"{label:34}{base:10.3f}{adapted:10.3f}{change}{more}"


def _synthesis_line(synthesis: SynthesisReport) -> str:
    if not synthesis.asked:
        return "no paraphrases asked for"
    reasons = ", ".join(f"{count} {reason}" for reason, count in synthesis.dropped.most_common())
    accepted = f"{synthesis.accepted} of {synthesis.asked} accepted ({synthesis.acceptance:.0%})"
    return f"paraphrases: {accepted}; dropped {reasons}"


def _time_line(report: ReplayReport) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
    speed = report.tokens_per_second().get("training", 0)
    return f"{stages}; trained at {speed:.0f} tokens/s, peak memory {peak_rss_mb():.0f} MB"


def _answers(report: ReplayReport, count: int = 3) -> str:
    """The held-out questions whose answers, as the user gets them now, gained the most; with the reference."""
    from ..learning.rouge import rouge1

    now = report.with_retrieval or report.adapted
    pairs = list(zip(report.held_out, report.base.answers, now.answers))
    pairs.sort(key=lambda pair: rouge1(pair[1], pair[0].response) - rouge1(pair[2], pair[0].response))
    blocks = []
    for exchange, before, after in pairs[:count]:
        rows = (("asked", exchange.question), ("before", before), ("after", after), ("wanted", exchange.response))
        blocks.append("\n".join(_wrapped(name, text) for name, text in rows))
    return "\n" + "\n\n".join(blocks)


def _wrapped(name: str, text: str) -> str:
    folded = textwrap.shorten(one_line(text), 260, placeholder=" ...")
    return textwrap.fill(folded, WIDTH, initial_indent=f"  {name:8}", subsequent_indent=" " * 10)
