"""Embeds exchanges in a pass of its own.

Those that were not generated here are decoded beside the conversation's KV cache; those that were, in their own place
where the engine gives no embeddings while it generates.
"""

import numpy as np

from ..dialogue import TokenEmbeddings
from .chat_template import ChatTemplate, conversation
from .context import Context
from .engine import BatchToken, batches


class Embedder:
    """Decodes exchanges in the spare sequence for their last-layer embeddings."""

    def __init__(self, context: Context, template: ChatTemplate):
        self._context, self._template = context, template

    def embed_exchange(self, question: str, reply: str, system: str = "") -> TokenEmbeddings:
        """Embeddings as the first turn of a chat would have given them.

        What exceeds the KV cells is cut. The conversation's cache stays where there is room beside it.
        """
        context, engine = self._context, self._context.engine
        prompt = self._template.encode_prompt(conversation(question, system))
        tokens = [*prompt, *self._template.encode_reply(reply)[:-1]][: engine.cells]
        asked = self._template.question_range(prompt, question) or range(len(prompt))
        if len(context.cached_tokens) + len(tokens) > engine.cells:
            context.clear()
        embeddings = decode_embeddings(context, context.spare, tokens, asked, len(prompt))
        engine.remove_sequence(context.spare)
        return embeddings


def decode_embeddings(
    context: Context, sequence: int, tokens: list[int], asked: range, prompt_tokens: int, start: int = 0
) -> TokenEmbeddings:
    """Embeddings of the question at positions `asked` and of the reply behind the prompt.

    `sequence` holds the first `start` of the tokens; the others are decoded.
    """
    rows: list[np.ndarray] = []
    for batch in batches([BatchToken(tokens[i], i, sequence, True) for i in range(start, len(tokens))]):
        context.decode(batch, embeddings=True)
        rows += [context.engine.embedding(i) for i in range(len(batch))]
    return context.embeddings(rows[asked.start - start : asked.stop - start], rows[prompt_tokens - start :])
