"""LoCoMo: long conversations of two people, with questions (Maharana et al., ACL 2024, arXiv 2402.17753).

Data: locomo10.json of github.com/snap-research/locomo, CC BY-NC 4.0. Two turns of a session in a row are an exchange;
a session's last turn may stand alone. Categories: 1 multi-hop, 2 temporal, 3 open domain, 4 single hop; the fifth,
adversarial, has no answer and is left out.
"""

import json
import re
from pathlib import Path

from idletune.dialogue import Exchange
from idletune.errors import UsageError

from .history import History, MemoryQuestion

FILE = "locomo10.json"
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open domain", 4: "single hop"}


def load(data: Path, conversations: int | None = None) -> list[History]:
    """The first so many conversations, or all ten."""
    path = data / FILE
    if not path.is_file():
        raise UsageError(f"no {FILE} in {data}; it is in the folder data of github.com/snap-research/locomo")
    return [_history(sample) for sample in json.loads(path.read_text(encoding="utf-8"))[:conversations]]


def _history(sample: dict) -> History:
    exchanges: list[Exchange] = []
    number_of: dict[str, int] = {}
    for session in _sessions(sample["conversation"]):
        for pair in (session[i : i + 2] for i in range(0, len(session), 2)):
            number_of |= {turn["dia_id"]: len(exchanges) for turn in pair}
            exchanges.append(Exchange(*(turn["text"] for turn in pair), *([""] * (2 - len(pair)))))
    questions = [_question(asked, number_of) for asked in sample["qa"] if asked["category"] in CATEGORIES]
    return History(sample["sample_id"], exchanges, [question for question in questions if question.evidence])


def _sessions(conversation: dict) -> list[list[dict]]:
    names = sorted((name for name in conversation if re.fullmatch(r"session_\d+", name)), key=lambda n: int(n[8:]))
    return [conversation[name] for name in names]


def _question(asked: dict, number_of: dict[str, int]) -> MemoryQuestion:
    """Evidence may name several turns in one text, and some that are not there."""
    named = [turn for text in asked["evidence"] for turn in re.findall(r"D\d+:\d+", text)]
    evidence = frozenset(number_of[turn] for turn in named if turn in number_of)
    return MemoryQuestion(asked["question"], str(asked["answer"]), evidence, CATEGORIES[asked["category"]])
