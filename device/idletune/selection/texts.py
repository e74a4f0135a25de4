"""The buffer's texts in a lexical index: what retrieval searches, brought up to date at each search."""

from collections.abc import Mapping

from ..dialogue import DialogueSet
from ..state.origins import is_chat
from .buffer import Buffer
from .lexical import LexicalIndex

SAME_LABEL = 1.5  # times the score of a set that shares a label: words decide, labels between sets that fit alike
QUESTION_MARKS = frozenset("?\uff1f\u061f")  # also the fullwidth and the Arabic one


class TextIndex:
    """Answered sets are found by question and answer. Of the others, what the user told the model in a chat is found:
    a message without a question mark, by it alone.

    As the buffer's mirror it starts anew after a rollback, and after a set was forgotten: its words must not stay in
    memory.
    """

    def __init__(self, buffer: Buffer):
        self._buffer, self.index = buffer, LexicalIndex()
        self._answered_at: dict[int, float | None] = {}  # of each set in the index
        self._version: tuple[int, int] | None = None

    def search(self, message: str, labels: Mapping[str, str] = {}) -> list[int]:
        """The ids of all sets that share a word with a message, the best first; those that share a label as well are
        preferred."""
        self._sync()
        found = self.index.search(message)
        if labels:
            alike = {id for id, known in self._buffer.labels().items() if known.items() & labels.items()}
            found.sort(key=lambda each: -each[1] * (SAME_LABEL if each[0] in alike else 1))
        return [id for id, _ in found]

    def coverage(self, id: int, message: str) -> float:
        """The share of a message that a set which was found holds (see LexicalIndex); 0 where it holds nothing else."""
        return self.index.coverage(id, message) if self.index.adds_to(id, message) else 0.0

    def answered(self) -> list[int]:
        """The ids of the answered sets, the newest answer first; as of the last search."""
        times = {id: at for id, at in self._answered_at.items() if at is not None}
        return sorted(times, key=lambda id: (times[id], id), reverse=True)

    def _sync(self) -> None:
        current, version = self._buffer.answer_times(), self._buffer.text_version()
        if self._version != version:
            self._version, self.index, self._answered_at = version, LexicalIndex(), {}
        for id in self._answered_at.keys() - current.keys():
            self.index.remove(id)
        changed = [id for id, at in current.items() if id not in self._answered_at or self._answered_at[id] != at]
        for id in changed:
            self._add(self._buffer.get(id))
        self._answered_at = current

    def _add(self, found: DialogueSet) -> None:
        assert found.id is not None
        if found.response is not None:
            self.index.add(found.id, f"{found.question}\n{found.response}")
        elif is_chat(found.origin) and not QUESTION_MARKS.intersection(found.question):
            self.index.add(found.id, found.question)
