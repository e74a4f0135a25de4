"""Generation in slots: each decode step advances all of them, by a piece of the prompt or by one token of the reply.

The embeddings of a question and its reply are taken while the reply is generated, at no further pass. An engine that
gives logits or embeddings, but not both, decodes them once more when the reply is finished (see embedding.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dialogue import TokenEmbeddings
from .context import Context
from .engine import BATCH_TOKENS, BatchToken
from .reply import Reply, Stop
from .thinking import ReplyText

# A hidden state that is not finite makes every logit so, for each is a sum over it: a few of them tell. To look at all
# 49,152 of SmolLM2 takes 7 microseconds a token, at these 1.
PROBED_LOGITS = 256


@dataclass
class Slot:
    """A prompt that is being answered in one sequence."""

    index: int  # of the prompt among those to answer
    sequence: int
    pending: list[int]  # tokens not decoded yet
    position: int  # of the first pending token
    max_tokens: int  # of the reply
    sampler: Any
    question: range  # positions whose embeddings are the question's; empty: no embeddings are taken
    pause: int = 0  # a batch does not go beyond this position at once
    reply: list[int] = field(default_factory=list)
    question_embeddings: list[np.ndarray] = field(default_factory=list)
    reply_embeddings: list[np.ndarray] = field(default_factory=list)
    text: ReplyText = field(default_factory=ReplyText)
    stop: Stop | None = None

    @property
    def cells(self) -> int:
        """KV cells that it has and will need at most."""
        return self.position + len(self.pending) + self.max_tokens - len(self.reply)

    def next_tokens(self, room: int) -> list[BatchToken]:
        """Pending tokens for the next batch. The last one's logits choose the next token."""
        last = len(self.pending) - 1
        if self.position < self.pause:
            room = min(room, self.pause - self.position)
        return [
            BatchToken(token, position, self.sequence, position - self.position == last or position in self.question)
            for position, token in enumerate(self.pending[:room], start=self.position)
        ]


def decode_step(context: Context, slots: list[Slot], stop_text: str | None = None) -> None:
    """Decode one batch for all slots; sample a token for each whose prompt is decoded.

    Where `stop_text` occurs in an answer, behind spaces at its beginning, the reply ends.
    """
    batch: list[BatchToken] = []
    starts = []
    for slot in slots:
        starts.append(len(batch))
        batch += slot.next_tokens(BATCH_TOKENS - len(batch))
    embeds = context.engine.embeds_with_logits and any(slot.question for slot in slots)
    if not any(item.output for item in batch):  # llama.cpp requires an output in every batch
        batch[-1] = batch[-1]._replace(output=True)
    context.decode(batch, embeds)
    for slot, start, end in zip(slots, starts, [*starts[1:], len(batch)]):
        if start == end:
            continue
        if embeds and slot.question:
            _take_embeddings(context, slot, batch, range(start, end))
        slot.pending, slot.position = slot.pending[end - start :], slot.position + end - start
        if not slot.pending:
            _sample(context, slot, end - 1, stop_text)


def _take_embeddings(context: Context, slot: Slot, batch: list[BatchToken], indices: range) -> None:
    for index in indices:
        if batch[index].position in slot.question:
            slot.question_embeddings.append(context.engine.embedding(index))
        elif batch[index].output and slot.reply:
            slot.reply_embeddings.append(context.engine.embedding(index))


def _sample(context: Context, slot: Slot, index: int, stop_text: str | None) -> None:
    engine = context.engine
    context.check_finite(engine.logits(index)[:PROBED_LOGITS])
    token = engine.sample(slot.sampler, index)
    if engine.is_end(token):
        slot.stop = "end"
        return
    slot.reply.append(token)
    slot.pending = [token]
    slot.text.add(context.piece(token))
    if stop_text and stop_text in slot.text.answer.lstrip():
        slot.stop = "end"
    elif len(slot.reply) >= slot.max_tokens:
        slot.stop = "length"


def end_at(slot: Slot, stop: Sequence[str]) -> None:
    """End the reply before the first of these texts, if its answer contains one."""
    if slot.text.end_before(stop):
        slot.stop = "end"


def finished(context: Context, slot: Slot, prompt_tokens: int, embeddings: TokenEmbeddings | None = None) -> Reply:
    """The slot's reply, once it has stopped. `embeddings`: those that were not taken while it was generated."""
    assert slot.stop
    if slot.question and context.engine.embeds_with_logits:
        embeddings = context.embeddings(slot.question_embeddings, slot.reply_embeddings)
    slot.text.finish()
    answer, thoughts = slot.text.answer.strip(), slot.text.thoughts.strip()
    return Reply(answer, slot.reply, embeddings, slot.stop, prompt_tokens, thoughts=thoughts)
