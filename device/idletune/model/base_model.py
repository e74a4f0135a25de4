"""The base model: one engine, and all that is done with it.

Design choices:
- llama.cpp is the engine, or ONNX Runtime where a phone has only that (engines.py);
- one context serves the conversation (conversation_cache.py), batches of prompts (batch_generation.py), evaluation
  (evaluation.py) and embedding (embedding.py), for a phone has no memory for several.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ..dialogue import TokenEmbeddings
from ..examples import Example, labelled_example
from .batch_generation import BatchGenerator
from .chat_template import ChatTemplate
from .context import Context, check_fits, held
from .conversation_cache import ConversationCache
from .embedding import Embedder
from .engine import Engine
from .engines import open_engine
from .evaluation import Evaluator
from .history import truncate_history
from .reply import Reply
from .tried_models import TriedModels

MIN_CELLS = 2048  # KV cells where prompts are answered in batches; a context may be smaller


class BaseModel:
    """A GGUF model, loaded once. Close it when done; it is for one thread at a time.

    A file that `tried` does not know is opened in a process of its own first.
    Raises UsageError for a missing file or an architecture llama.cpp does not know, DamagedDataError for a
    truncated one.
    """

    def __init__(
        self,
        path: Path,
        *,
        context_tokens: int = 1024,
        sequences: int = 8,
        threads: int = 0,
        backend: str = "llama.cpp",
        tried: TriedModels | None = None,
    ):
        self.path, self.context_tokens, self.sequences = Path(path), context_tokens, sequences
        cells = max(context_tokens, MIN_CELLS if sequences > 1 else 0)
        self._tried = tried or TriedModels()
        if backend == "llama.cpp":
            self._tried.ensure(self.path, cells, held(sequences))
        self.engine: Engine = open_engine(backend, self.path, cells=cells, sequences=held(sequences), threads=threads)
        try:
            self.template = ChatTemplate(self.engine)
        except BaseException:
            self.engine.close()
            raise
        self.hidden, self.vocabulary = self.engine.hidden, self.engine.vocabulary
        self.context = Context(self.engine, sequences)
        self._conversation = ConversationCache(self.context, self.template)
        self._evaluator, self._embedder = Evaluator(self.context), Embedder(self.context, self.template)

    @cached_property
    def sha256(self) -> str:
        """The digest of the model's files, computed once for a file (see TriedModels)."""
        return self._tried.sha256(self.path)

    @property
    def adapter(self) -> Path | None:
        """The adapter in use; None is the base model alone."""
        return self.context.adapter

    @property
    def cached_tokens(self) -> list[int]:
        """The conversation's tokens that the KV cache holds."""
        return self.context.cached_tokens

    def tokenize(self, text: str, special: bool = False, begin: bool = False) -> list[int]:
        """Token ids; `special` reads control tokens, `begin` puts the model's first token in front."""
        return self.context.engine.tokenize(text, special, begin)

    def detokenize(self, tokens: list[int]) -> str:
        return b"".join(map(self.context.engine.piece, tokens)).decode("utf-8", "replace")

    def encode_prompt(self, messages: list[dict], thinking: bool = False) -> list[int]:
        """A conversation's tokens, up to where the assistant's next turn begins, or its thoughts with `thinking`."""
        return self.template.encode_prompt(messages, thinking)

    def encode_exchange(
        self,
        question: str,
        response: str,
        *,
        system: str = "",
        few_shot: Sequence[dict] = (),
        max_tokens: int | None = None,
        train_on_question: bool = False,
    ) -> Example:
        """A training example whose prompt is token for token what `chat` sends without `thinking`.

        See ChatTemplate.encode_exchange.
        """
        return self.template.encode_exchange(question, response, system, few_shot, max_tokens, train_on_question)

    def encode_text(self, text: str, *, max_tokens: int | None = None) -> Example:
        """Plain text, every token but the first a label."""
        return labelled_example(self.tokenize(text, begin=True)[:max_tokens], start=1)

    def chat(
        self,
        messages: list[dict],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
        few_shot: int = 0,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        thinking: bool = False,
        on_thought: Callable[[str], None] | None = None,
        stop: Sequence[str] = (),
    ) -> Reply:
        """Answer the last message; `on_text` gets the answer as it is generated, always whole characters.

        `should_stop` is called before each decode; when it is true, the text so far is returned. The reply ends before
        the first of the texts `stop` that it contains. Where the context
        has no room for all messages, the oldest are left out (see `truncate_history`); `few_shot` is the number of
        few-shot turns before the conversation, which are kept longest. With `thinking` the model may think before it
        answers, if it can; `on_thought` gets the thoughts. The embeddings are those of the answer without them.
        """
        prompt, left_out = self.truncate_history(messages, max_tokens, few_shot, thinking)
        reply = self._conversation.reply(
            prompt,
            messages[-1]["content"],
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            on_text=on_text,
            on_thought=on_thought,
            should_stop=should_stop,
            think_block=self.template.think_block if thinking else None,
            stop=stop,
        )
        reply.left_out = left_out
        if (thinking or reply.thoughts) and reply.stop != "asked":
            reply.embeddings = self._embed_answer(messages, reply.text)
        return reply

    def continue_text(
        self,
        text: str,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
        on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        stop: Sequence[str] = (),
    ) -> Reply:
        """What follows on a text, without the chat template; control tokens in it are read. No embeddings are taken.

        UsageError where text and continuation do not fit the context; the rest is as in `chat`.
        """
        begin, tokens = self.tokenize("", begin=True), self.tokenize(text, special=True)
        prompt = tokens if tokens[: len(begin)] == begin else [*begin, *tokens]
        check_fits(len(prompt) + max_tokens, self.context_tokens)
        return self._conversation.reply(
            prompt,
            None,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            on_text=on_text,
            should_stop=should_stop,
            stop=stop,
        )

    def _embed_answer(self, messages: list[dict], answer: str) -> TokenEmbeddings:
        """The embeddings of the last message and its answer, as of an exchange without thoughts."""
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        return self.embed_exchange(messages[-1]["content"], answer, system)

    def truncate_history(
        self, messages: list[dict], max_tokens: int, few_shot: int = 0, thinking: bool = False
    ) -> tuple[list[int], int]:
        """The prompt's tokens with room for a reply of `max_tokens`, and the number of messages left out."""
        encode = partial(self.encode_prompt, thinking=True) if thinking else self.encode_prompt
        return truncate_history(encode, messages, self.context_tokens, max_tokens, few_shot)

    def generate(
        self,
        prompts: list[list[int]],
        *,
        max_tokens: int | list[int],
        temperature: float,
        top_p: float,
        seeds: list[int],
        stop_text: str | None = None,
        questions: Sequence[str] = (),
        progress: Callable[[int], None] | None = None,
    ) -> list[Reply]:
        """Answer many prompts, several at a time. With `questions`, embeddings of question and reply are returned too.

        `max_tokens` is one limit for all, or one for each prompt. `progress` gets the number answered after
        every step; what it raises ends the work.
        Raises UsageError when a prompt does not fit the context.
        """
        if not prompts:
            return []
        limits = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else max_tokens
        generator = BatchGenerator(self.context, self.template, prompts, limits, questions)
        return generator.run(temperature, top_p, seeds, stop_text, progress or (lambda answered: None))

    def fits(self, tokens: int) -> bool:
        """Whether `generate` has room for a prompt and reply of so many tokens."""
        return tokens <= self.engine.cells

    def negative_log_likelihood(
        self, examples: list[Example], progress: Callable[[int], None] | None = None
    ) -> tuple[float, int]:
        """Summed loss in nats over the labelled positions, and their number."""
        return self._evaluator.negative_log_likelihood(examples, progress)

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Logits after each token, float32 (n, vocabulary): large for many tokens."""
        return self._evaluator.logits(tokens)

    def check_finite(self) -> None:
        """Decode a few tokens with the adapter in use. NonFiniteOutput when a logit is NaN or infinity."""
        self._evaluator.check_finite()

    def embed_exchange(self, question: str, reply: str, system: str = "") -> TokenEmbeddings:
        """An exchange's embeddings, as the first turn of a `chat` would have given them.

        The conversation's KV cache stays where there is room beside it.
        """
        return self._embedder.embed_exchange(question, reply, system)

    def load_adapter(self, path: Path, scale: float = 1.0, known_as: Path | None = None) -> None:
        """Answer with this adapter from now on; the base stays loaded, the KV cache is cleared.

        `known_as` is what `adapter` says where the file loaded is a decrypted one in memory.
        DamagedDataError for a file that is no adapter for this model; the one in use stays then.
        """
        self.context.set_adapter(Path(path), scale, Path(known_as or path))

    def remove_adapter(self) -> None:
        """Answer with the base model alone."""
        if self.adapter is not None:
            self.context.set_adapter(None, 0.0, None)

    def clear(self) -> None:
        """Empty the conversation's KV cache."""
        self.context.clear()

    def close(self) -> None:
        self.engine.close()

    def __enter__(self) -> "BaseModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
