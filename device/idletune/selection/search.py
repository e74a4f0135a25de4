"""Finds dialogue sets by words, as a person looks for them: case, spaces and Unicode forms do not matter."""

import unicodedata
from collections.abc import Iterable

from ..dialogue import DialogueSet

WHICH = ("all", "answered", "unanswered")


def search(sets: Iterable[DialogueSet], text: str = "", which: str = WHICH[0]) -> list[DialogueSet]:
    """Those of the sets that hold every word of `text` in question, reply or answer, in the order given."""
    words = _plain(text).split()
    return [found for found in sets if _is_wanted(found, which) and _holds(found, words)]


def _is_wanted(found: DialogueSet, which: str) -> bool:
    return which == WHICH[0] or (found.response is not None) == (which == WHICH[1])


def _holds(found: DialogueSet, words: list[str]) -> bool:
    texts = _plain("\n".join((found.question, found.reply, found.response or "")))
    return all(word in texts for word in words)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
