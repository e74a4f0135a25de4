"""PersonaMem: questions with choices about long conversations with one person (Jiang et al., COLM 2025).

arXiv 2504.14225. Data: questions_32k.csv and shared_contexts_32k.jsonl, which github.com/bowen-upenn/PersonaMem names,
MIT licence.
"""

import ast
import csv
import json
from pathlib import Path

from idletune.dialogue import Exchange
from idletune.errors import UsageError

from .choices import Choice

QUESTIONS, CONTEXTS = "questions_32k.csv", "shared_contexts_32k.jsonl"


def load(data: Path) -> list[Choice]:
    """The questions on contexts of 32,000 tokens."""
    if not ((data / QUESTIONS).is_file() and (data / CONTEXTS).is_file()):
        raise UsageError(f"no {QUESTIONS} and {CONTEXTS} in {data}; github.com/bowen-upenn/PersonaMem says where")
    contexts: dict[str, list[dict]] = {}
    for line in (data / CONTEXTS).read_text(encoding="utf-8").splitlines():
        contexts |= json.loads(line)
    with (data / QUESTIONS).open(encoding="utf-8", newline="") as file:
        return [_choice(row, contexts) for row in csv.DictReader(file)]


def _choice(row: dict, contexts: dict[str, list[dict]]) -> Choice:
    """Choices read "(a) text"; the answer is "(a)"."""
    messages = contexts[row["shared_context_id"]][: int(row["end_index_in_shared_context"])]
    choices = [option.split(")", 1)[1].strip() for option in ast.literal_eval(row["all_options"])]
    right = "abcd".index(row["correct_answer"].strip("() "))
    return Choice(row["user_question_or_message"], choices, right, _exchanges(messages))


def _exchanges(messages: list[dict]) -> list[Exchange]:
    """Each message of the user with the reply that follows; other messages are left out."""
    following = [*messages[1:], {"role": "", "content": ""}]
    return [
        Exchange(one["content"], other["content"] if other["role"] == "assistant" else "")
        for one, other in zip(messages, following)
        if one["role"] == "user"
    ]
