"""Answers from memory: the base model answers LoCoMo's questions behind the exchanges that a system finds.

The score is LoCoMo's F1: shared words of answer and reference after lower-casing, without punctuation and articles,
each word stemmed (Porter). Of a multi-hop reference every part, between commas, is held against the part of the answer
that fits best. An open-domain reference counts up to its first semicolon.
"""

import re
import string
from collections import Counter
from functools import cache

from idletune.model.base_model import BaseModel

from .history import MemoryQuestion

ANSWER_TOKENS = 32
ASKED = "Answer in a few words from what was said before: {}"


def f1(answer: str, question: MemoryQuestion) -> float:
    """LoCoMo's F1 in [0, 1] of an answer to one of its questions."""
    reference = question.answer
    if question.category == "multi-hop":
        parts = answer.split(",")
        best = [max(overlap(part, expected) for part in parts) for expected in reference.split(",")]
        return sum(best) / len(best)
    return overlap(answer, reference.split(";")[0] if question.category == "open domain" else reference)


def overlap(answer: str, reference: str) -> float:
    """F1 of the words that two texts share, with repetition."""
    given, expected = Counter(_stems(answer)), Counter(_stems(reference))
    shared = (given & expected).total()
    return 2 * shared / (given.total() + expected.total()) if shared else 0.0


def _stems(text: str) -> list[str]:
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return [_stemmer().stem(word) for word in re.sub(r"\b(a|an|the|and)\b", " ", plain).split()]


@cache
def _stemmer():
    from nltk.stem import PorterStemmer

    return PorterStemmer()


def answer(model: BaseModel, prompt: list[int]) -> str:
    """The greedy answer to a prompt."""
    (reply,) = model.generate([prompt], max_tokens=ANSWER_TOKENS, temperature=0.0, top_p=1.0, seeds=[0])
    return reply.text
