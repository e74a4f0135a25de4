"""Answers many prompts: several at a time share each decode, and their common prefix is decoded once."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..dialogue import TokenEmbeddings
from .chat_template import ChatTemplate
from .context import Context, common_length
from .embedding import decode_embeddings
from .engine import BatchToken, batches
from .reply import Reply
from .slots import Slot, decode_step, finished

MIN_PREFIX = 8  # tokens; a shorter common prefix is not worth a decode of its own


class BatchGenerator:
    """Answers one list of prompts; `questions` are their questions where embeddings are wanted, else empty."""

    def __init__(
        self,
        context: Context,
        template: ChatTemplate,
        prompts: list[list[int]],
        limits: list[int],
        questions: Sequence[str] = (),
    ):
        self._context, self._prompts, self._limits = context, prompts, limits
        self._largest = max(len(prompt) + limit for prompt, limit in zip(prompts, limits))
        context.check_room(self._largest)
        ranges = (template.question_range(p, q) or range(len(p)) for p, q in zip(prompts, questions))
        self._questions = [*ranges] if questions else [range(0)] * len(prompts)
        self._waiting, self._active = deque(range(len(prompts))), list[Slot]()
        self._free = list(range(context.sequences))
        self._prefix = 0  # tokens that all prompts have in common, in the spare sequence
        self._replies: dict[int, Reply] = {}

    def run(
        self,
        temperature: float,
        top_p: float,
        seeds: list[int],
        stop_text: str | None,
        progress: Callable[[int], None],
    ) -> list[Reply]:
        """The replies, in the order of the prompts. The KV cache is empty afterwards, whatever `progress` raises."""
        context = self._context
        context.clear()
        try:
            self._decode_prefix(progress)
            while self._waiting or self._active:
                while self._has_room():
                    number = self._waiting.popleft()
                    self._start(number, context.engine.sampler(temperature, top_p, seeds[number]))
                decode_step(context, self._active, stop_text)
                for slot in [slot for slot in self._active if slot.stop]:
                    self._finish(slot)
                progress(len(self._replies))
        finally:
            for slot in self._active:
                context.engine.free_sampler(slot.sampler)
            context.clear()
        return [self._replies[number] for number in range(len(self._prompts))]

    def _decode_prefix(self, progress: Callable[[int], None]) -> None:
        """Decode the prompts' common prefix once, in the spare sequence."""
        prompts, context = self._prompts, self._context
        limit = self._prefix_limit()
        length = min(common_length(prompts[0], prompt[:-1][:limit]) for prompt in prompts)
        if len(prompts) == 1 or length < MIN_PREFIX:
            return
        tokens = [BatchToken(token, i, context.spare, False) for i, token in enumerate(prompts[0][:length])]
        for batch in batches(tokens):
            batch[-1] = batch[-1]._replace(output=True)  # llama.cpp requires an output in every batch
            context.decode(batch)
            progress(0)
        self._prefix = length

    def _prefix_limit(self) -> int:
        """The largest prefix that may be shared. A question's own tokens are decoded for their embeddings."""
        engine = self._context.engine
        limit = min(asked.start for asked in self._questions) if any(self._questions) else self._largest
        if not engine.shares_cells:  # then the largest prompt needs room for a copy of the prefix beside the prefix
            limit = min(limit, engine.cells - self._largest)
        return limit

    def _has_room(self) -> bool:
        """Whether the next prompt and its reply fit the KV cells beside those that are being answered."""
        if not self._waiting or not self._free:
            return False
        engine, number = self._context.engine, self._waiting[0]
        shared = self._prefix if engine.shares_cells else 0  # cells that a sequence has in common with the spare one
        reserved = sum(slot.cells - shared for slot in self._active)
        wanted = len(self._prompts[number]) + self._limits[number] - shared
        return self._prefix + reserved + wanted <= engine.cells

    def _start(self, number: int, sampler: Any) -> None:
        context, sequence, prefix = self._context, self._free.pop(), self._prefix
        if prefix:
            context.engine.copy_sequence(context.spare, sequence, prefix)
        rest, limit = self._prompts[number][prefix:], self._limits[number]
        self._active.append(Slot(number, sequence, rest, prefix, limit, sampler, self._questions[number]))

    def _finish(self, slot: Slot) -> None:
        embeddings = self._embed(slot) if slot.question and not self._context.engine.embeds_with_logits else None
        self._replies[slot.index] = finished(self._context, slot, len(self._prompts[slot.index]), embeddings)
        self._context.engine.free_sampler(slot.sampler)
        self._context.engine.remove_sequence(slot.sequence)
        self._active.remove(slot)
        self._free.append(slot.sequence)

    def _embed(self, slot: Slot) -> TokenEmbeddings:
        """Decode the finished slot's tokens once more behind the shared prefix, for their embeddings."""
        engine, prompt, prefix = self._context.engine, self._prompts[slot.index], self._prefix
        engine.remove_sequence(slot.sequence)
        if prefix:
            engine.copy_sequence(self._context.spare, slot.sequence, prefix)
        tokens = [*prompt, *slot.reply][: slot.position]
        return decode_embeddings(self._context, slot.sequence, tokens, slot.question, len(prompt), prefix)
