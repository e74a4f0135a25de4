"""Think blocks: what a model writes down for itself before its answer.

Most models write them between `<think>` and `</think>`, Gemma 4 and Mistral between markers of their own. A block
counts at the beginning of a reply only: an answer may speak about such markers. Thoughts are shown to the user as what
they are; they are no part of the answer, so they are neither observed, scored nor trained on.
"""

import codecs
from collections.abc import Sequence
from typing import NamedTuple


class Markers(NamedTuple):
    """What a think block begins and ends with."""

    opening: str
    closing: str


MARKERS = (
    Markers("<think>", "</think>"),
    Markers("<|channel>thought", "<channel|>"),  # Gemma 4
    Markers("[THINK]", "[/THINK]"),  # Mistral
)
MARKER_TOKENS = ("<think>", "</think>", "<|channel>", "<channel|>", "[THINK]", "[/THINK]")


def open_block(prompt: str) -> Markers | None:
    """The think block that a prompt ends in, for the model to fill; None where it ends otherwise."""
    end = prompt.rstrip()
    return next((markers for markers in MARKERS if end.endswith(markers.opening)), None)


def closed(prompt: str) -> str:
    """The prompt with an empty think block where it ends in an open one, in the form of Qwen 3's own template."""
    block = open_block(prompt)
    return f"{prompt.rstrip()}\n\n{block.closing}\n\n" if block else prompt


def answer_of(reply: str) -> str:
    """A reply without its think block."""
    text = ReplyText()
    text.add(reply.encode("utf-8", "surrogatepass"))
    text.finish()
    return text.answer.strip()


class ReplyText:
    """A reply's text while it is generated: thoughts and answer apart. `block` is one that the prompt has opened.

    A text that `is_answer` from its beginning has no thoughts.
    """

    def __init__(self, block: Markers | None = None, is_answer: bool = False):
        self.thoughts = self.answer = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # passes on whole characters
        self._pending = ""  # text that may belong to a marker
        self._block, self._is_answer = block, is_answer

    def add(self, data: bytes) -> None:
        """Add a token's bytes."""
        self._pending += self._decoder.decode(data)
        if not self._block and not self._is_answer:
            self._find_opening()
        if self._block and not self._is_answer:
            self._think(self._block.closing)
        if self._is_answer:
            self._answer()

    def finish(self) -> None:
        """Add what was held back because a marker might have followed; a character that is cut is left out."""
        if self._block and not self._is_answer:
            self.thoughts += self._pending
        else:
            self.answer += self._pending
        self._pending = ""

    def end_before(self, stop: Sequence[str]) -> bool:
        """Cut the answer before the first of these texts; whether it contains one."""
        found = [at for text in stop if (at := self.answer.find(text)) >= 0]
        if found:
            self.answer, self._pending = self.answer[: min(found)], ""
        return bool(found)

    def _find_opening(self) -> None:
        text = self._pending.lstrip()
        for markers in MARKERS:
            if text.startswith(markers.opening):
                self._block, self._pending = markers, text.removeprefix(markers.opening)
                return
        self._is_answer = not any(markers.opening.startswith(text) for markers in MARKERS)

    def _think(self, closing: str) -> None:
        thoughts, found, after = self._pending.partition(closing)
        self._is_answer = bool(found)
        held = 0 if found else beginning_length(closing, thoughts)
        self.thoughts += thoughts[: len(thoughts) - held]
        self._pending = after if found else thoughts[len(thoughts) - held :]

    def _answer(self) -> None:
        behind_block = self._block and not self.answer  # empty lines follow it
        self.answer += self._pending.lstrip() if behind_block else self._pending
        self._pending = ""


def beginning_length(marker: str, text: str) -> int:
    """The length of the longest end of `text` that is a beginning of `marker`."""
    return next((n for n in range(min(len(marker) - 1, len(text)), 0, -1) if text.endswith(marker[:n])), 0)
