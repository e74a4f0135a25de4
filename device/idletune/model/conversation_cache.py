"""Chat: the conversation keeps its KV cache, and a turn decodes only the tokens that are new.

Models with convolutions or linear attention keep a state in place of KV cells, and no token can be taken out of it. So
sequence 1 holds the conversation up to its last question (the checkpoint): a turn that was cancelled or is asked again
goes on from there, and everything else is decoded from the beginning.
"""

from collections.abc import Callable, Sequence

from ..dialogue import TokenEmbeddings
from .chat_template import ChatTemplate
from .context import Context, common_length
from .embedding import decode_embeddings
from .reply import Reply
from .slots import Slot, decode_step, end_at, finished
from .thinking import Markers, ReplyText, beginning_length


class ConversationCache:
    """Answers the turns of a conversation in sequence 0 of the context."""

    def __init__(self, context: Context, template: ChatTemplate):
        self._context, self._template = context, template

    def reply(
        self,
        prompt: list[int],
        question: str | None,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
        on_text: Callable[[str], None] | None = None,
        on_thought: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        think_block: Markers | None = None,
        stop: Sequence[str] = (),
    ) -> Reply:
        """Answer a prompt that ends with `question`, and in a `think_block` where it has one; see BaseModel.chat.

        Without a question the prompt is a text that is continued: its spaces stay, and it has no embeddings.
        """
        context, engine = self._context, self._context.engine
        asked, kept = self._reuse(prompt, question)
        pause = 0 if engine.cuts_sequences else asked.start
        slot = Slot(0, 0, prompt[kept:], kept, max_tokens, engine.sampler(temperature, top_p, seed), asked, pause)
        slot.text = ReplyText(think_block, is_answer=question is None)
        streams = _Stream(on_thought), _Stream(on_text, stop)
        try:
            while not slot.stop:
                if should_stop():
                    slot.stop = "asked"
                    break
                if pause == slot.position and not engine.cuts_sequences:
                    self._set_checkpoint(pause)
                decode_step(context, [slot])
                # Updated after each step, so that an answer that is interrupted leaves the cache correct.
                context.cached_tokens = [*prompt, *slot.reply][: slot.position]
                end_at(slot, stop)
                self._send(slot.text, *streams)
        finally:
            engine.free_sampler(slot.sampler)
        slot.text.finish()  # all is shown before the embeddings are computed
        self._send(slot.text, *streams, last=True)
        again = slot.question and not engine.embeds_with_logits and slot.stop != "asked"
        reply = finished(context, slot, len(prompt), self._embed(slot, prompt) if again else None)
        if question is None:
            reply.text = slot.text.answer
        reply.cached_tokens = kept
        return reply

    @staticmethod
    def _send(text: ReplyText, thoughts: "_Stream", answer: "_Stream", last: bool = False) -> None:
        thoughts.send(text.thoughts, last)
        answer.send(text.answer, last)

    def _reuse(self, prompt: list[int], question: str | None) -> tuple[range, int]:
        """Positions of the question's tokens, and how many tokens of the prompt stay in the cache."""
        context = self._context
        kept = common_length(context.cached_tokens, prompt[:-1])
        if question is None:
            return range(0), self._cut(kept)
        asked = self._template.question_range(prompt, question) or range(kept, len(prompt))
        kept = min(kept, asked.start)  # the question is decoded even where it is cached: its embeddings are needed
        return asked, self._cut(kept)

    def _cut(self, length: int) -> int:
        """Keep at most `length` tokens of the conversation; returns how many are kept."""
        context = self._context
        kept = context.engine.remove_sequence(0, length)
        if kept < length and 0 < context.checkpoint <= length:
            kept = context.checkpoint
            context.engine.copy_sequence(context.CHECKPOINT, 0, kept)
        elif kept < context.checkpoint:
            self._set_checkpoint(0)
        context.cached_tokens = context.cached_tokens[:kept]
        return kept

    def _set_checkpoint(self, length: int) -> None:
        """Let sequence 1 hold the `length` tokens that the conversation has; it shares their KV cells."""
        context = self._context
        context.engine.remove_sequence(context.CHECKPOINT)
        if length:
            context.engine.copy_sequence(0, context.CHECKPOINT, length)
        context.checkpoint = length

    def _embed(self, slot: Slot, prompt: list[int]) -> TokenEmbeddings:
        """Decode the question and the reply once more, in their own place, for their embeddings."""
        context, tokens = self._context, [*prompt, *slot.reply][: slot.position]
        start = self._cut(slot.question.start)
        embeddings = decode_embeddings(context, 0, tokens, slot.question, len(prompt), start)
        context.cached_tokens = tokens
        return embeddings


class _Stream:
    """Passes on what is new of a text that grows. What a stop text may begin with is held back till the last time."""

    def __init__(self, on_text: Callable[[str], None] | None, stop: Sequence[str] = ()):
        self._on_text, self._stop, self._sent = on_text, stop, 0

    def send(self, text: str, last: bool) -> None:
        held = 0 if last else max((beginning_length(stop, text) for stop in self._stop), default=0)
        text = text[: len(text) - held]
        if self._on_text and len(text) > self._sent:
            self._on_text(text[self._sent :])
        self._sent = len(text)
