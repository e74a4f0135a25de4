"""LongMemEval-S: 500 questions, each behind some 40 sessions with an assistant (Wu et al., ICLR 2025).

arXiv 2410.10813. Data: longmemeval_s.json or the cleaned one, named at github.com/xiaowu0162/LongMemEval, MIT licence.
A message of the user and the assistant's reply are an exchange, which the paper calls a round. Evidence are the rounds
with a marked turn; questions that have none, and those to be declined (`_abs`), are left out, as in the paper.
"""

import json
from pathlib import Path

from idletune.dialogue import Exchange
from idletune.errors import UsageError

from .history import History, MemoryQuestion

FILES = ("longmemeval_s_cleaned.json", "longmemeval_s.json")


def load(data: Path, questions: int | None = None) -> list[History]:
    """A history for each of the first so many questions, or for all."""
    path = next((data / name for name in FILES if (data / name).is_file()), None)
    if path is None:
        raise UsageError(f"none of {', '.join(FILES)} in {data}; github.com/xiaowu0162/LongMemEval says where they are")
    found = [_history(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    return [history for history in found if history.questions][:questions]


def _history(entry: dict) -> History:
    exchanges: list[Exchange] = []
    evidence: set[int] = set()
    for session in entry["haystack_sessions"]:
        for turns in _rounds(session):
            if any(turn.get("has_answer") for turn in turns):
                evidence.add(len(exchanges))
            said = {role: "\n".join(t["content"] for t in turns if t["role"] == role) for role in ("user", "assistant")}
            exchanges.append(Exchange(said["user"], said["assistant"]))
    id, kind = entry["question_id"], entry["question_type"]
    question = MemoryQuestion(entry["question"], str(entry["answer"]), frozenset(evidence), kind)
    return History(id, exchanges, [question] if evidence and not id.endswith("_abs") else [])


def _rounds(session: list[dict]) -> list[list[dict]]:
    """A round begins with each message of the user."""
    rounds: list[list[dict]] = []
    for turn in session:
        if turn["role"] == "user" or not rounds:
            rounds.append([])
        rounds[-1].append(turn)
    return rounds
