"""PrefEval: a person states a preference, and later asks something that it decides (Zhao et al., ICLR 2025).

arXiv 2502.09597. Data: benchmark_dataset of github.com/amazon-science/PrefEval as the folder prefeval, CC BY-NC 4.0; of
it the explicit preferences with four choices each, of which the first is right.
"""

import json
from pathlib import Path

from idletune.dialogue import Exchange
from idletune.errors import UsageError

from .choices import Choice
from .history import History, MemoryQuestion

NOTED = "I will keep that in mind."


def load(data: Path) -> list[Choice]:
    """All questions; before each, all preferences of its topic were stated."""
    found = []
    for entries in _topics(data):
        said = [Exchange(entry["preference"], NOTED) for entry in entries]
        found += [Choice(entry["question"], entry["classification_task_options"], 0, said) for entry in entries]
    return found


def history(data: Path) -> History:
    """All preferences of all topics as one history; the evidence of a question is its own."""
    entries = [entry for topic in _topics(data) for entry in topic]
    exchanges = [Exchange(entry["preference"], NOTED) for entry in entries]
    questions = [
        MemoryQuestion(entry["question"], entry["preference"], frozenset([number]), "explicit")
        for number, entry in enumerate(entries)
    ]
    return History("PrefEval", exchanges, questions)


def _topics(data: Path) -> list[list[dict]]:
    files = sorted((data / "prefeval" / "mcq_options").glob("*.json"))
    if not files:
        raise UsageError(f"no prefeval/mcq_options in {data}; it is in benchmark_dataset of the repository PrefEval")
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]
