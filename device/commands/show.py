"""What the command line prints: tables a person reads."""

import textwrap
from datetime import datetime

from ..replay import ReplayReport

DEMO_OPENING = """\
Maren, a veterinary nurse with a dog, a dinghy and a balcony, talks to her phone for a few weeks.
The phone keeps the exchanges worth learning from, asks her about a few, and learns at night.
"""
WIDTH = 100


def replay_table(report: ReplayReport) -> str:
    """Before and after, what it took, and three answers side by side."""
    base, adapted, answers, learning = report.base, report.adapted, report.with_retrieval, report.learning
    evidence = learning.evidence
    lines = [
        "",
        f"{'':34}{'base':>10}{'adapted':>10}{'change':>10}" + (f"{'with retrieval':>18}" if answers else ""),
        _compared("held-out loss, trainer (nats)", base.nll_trainer, adapted.nll_trainer),
        _compared(
            "held-out loss, llama.cpp (nats)", base.nll_llama_cpp, adapted.nll_llama_cpp,
            answers and answers.nll_llama_cpp,
        ),
        _compared("ROUGE-1 of its answers", base.rouge1, adapted.rouge1, answers and answers.rouge1),
        _compared("general text loss, trainer (nats)", evidence.probe_base, evidence.probe_adapted),
        "",
        f"selected {report.selected} of {report.seen} exchanges, asked about {report.asked}"
        + (f", refused {report.refused} oversized" if report.refused else ""),
        _synthesis_line(learning.synthesis),
        f"trained on {learning.trained_sets} answers, {learning.held_out_sets} kept for the gate; {learning.plan}",
        f"gate: {'promoted' if learning.verdict.promoted else 'rejected'} at {learning.dose:.0%} strength, "
        f"{learning.verdict.reason}",
        _time_line(report),
    ]
    return "\n".join(lines) + "\n" + _answers(report)


def status_page(facts: dict) -> str:
    adapter, learned = facts["adapter"], facts["last_learned"]
    prompts, buffer, answered = facts["prompts"], facts["buffer"], facts["answered"]
    rows = [
        ("model", facts["model"]),
        ("home", f"{facts['home']}{', encrypted' if facts['encrypted'] else ''}"),
        ("serving", f"adapter {adapter['version']}, {adapter['reason']}" if adapter else "the base model alone"),
        ("buffer", f"{buffer['kept']} of {buffer['bins']} bins, {buffer['seen']} exchanges seen ({facts['policy']})"),
        *([("not kept", f"the last exchange: {facts['unobserved']}")] if facts["unobserved"] else []),
        ("answers", f"{answered['sets']}, {answered['not_yet_learned']} not learned from yet"
         + (", to be learned anew without what was forgotten" if facts["retrain_owed"] else "")),
        ("retrieval", _retrieval(facts["settings"])),
        ("questions", f"{prompts['waiting']} waiting, {prompts['asked_today']} asked today"),
        ("learning now", _learning(facts["learning"])),
        ("last slice", _slice(facts["learning"]["last"])),
        ("last learned", _learned(learned) if learned else "never"),
        *((f"job {name}", f"{_at(run['at'])}: {run['said']}") for name, run in facts.get("jobs", {}).items()),
    ]
    return "\n".join(f"{name:14}{value}" for name, value in rows)


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
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _learned(event: dict) -> str:
    return f"{_at(event['at'])}, {'promoted' if event['promoted'] else 'rejected'}: {event['reason']}"


def _compared(label: str, base: float, adapted: float, with_retrieval: float | None = None) -> str:
    change = f"{adapted / base - 1:+10.1%}" if base else f"{'':>10}"
    more = "" if with_retrieval is None else f"{with_retrieval:18.3f}"
    return f"{label:34}{base:10.3f}{adapted:10.3f}{change}{more}"


def _synthesis_line(synthesis) -> str:
    if not synthesis.asked:
        return "no paraphrases asked for"
    reasons = ", ".join(f"{count} {reason}" for reason, count in synthesis.dropped.most_common())
    accepted = f"{synthesis.accepted} of {synthesis.asked} accepted ({synthesis.acceptance:.0%})"
    return f"paraphrases: {accepted}; dropped {reasons}"


def _time_line(report: ReplayReport) -> str:
    facts = report.to_dict()
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in facts["seconds"].items())
    speed = facts["tokens_per_second"].get("training", 0)
    return f"{stages}; trained at {speed:.0f} tokens/s, peak memory {facts['peak_rss_mb']:.0f} MB"


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
    folded = textwrap.shorten(" ".join(text.split()), 260, placeholder=" ...")
    return textwrap.fill(folded, WIDTH, initial_indent=f"  {name:8}", subsequent_indent=" " * 10)
