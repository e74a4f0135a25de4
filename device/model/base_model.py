"""The base model: chat, many prompts at once, losses, embeddings, adapters at run time.

On llama.cpp, or on ONNX Runtime where a phone carries only that.

Design choices:
- one context serves everything; a conversation keeps its KV cache and re-reads only what changed;
- a sequence more than there are prompts holds what these begin with, or an exchange that is only embedded;
- many prompts share one batch, and the beginning they have in common is decoded once;
- the embeddings of a question and its reply are taken while the reply is generated, at no extra pass.
"""

import codecs
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..dialogue import TokenEmbeddings
from ..errors import UsageError
from ..training.rows import Example
from .bundle import sha256
from .chat_template import ChatTemplate, conversation, labelled
from .engine import BATCH, Item
from .engines import open_engine

LOGIT_BYTES = 6_000_000  # logits held at once when losses are measured


@dataclass
class Reply:
    """What the model answered."""

    text: str
    tokens: list[int]
    embeddings: TokenEmbeddings | None
    stop: str  # "end" of the turn, "length", or "asked" to
    prompt_tokens: int
    left_out: int = 0  # the conversation's oldest messages for which the context had no room
    unobserved: str = ""  # why the runtime could not observe the exchange


@dataclass
class _Slot:
    """A prompt being answered in one sequence."""

    number: int  # of the prompt
    sequence: int
    waiting: list[int]  # tokens not decoded yet
    position: int  # of the first waiting token
    longest: int  # tokens the reply may have
    sampler: object
    watched: range  # positions whose embeddings are wanted: the question's tokens
    reply: list[int] = field(default_factory=list)
    question_embeddings: list[np.ndarray] = field(default_factory=list)
    reply_embeddings: list[np.ndarray] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)
    stop: str = ""


class BaseModel:
    """A GGUF model, loaded once. Close it when done; it is for one thread at a time.

    Raises UsageError for a missing file or an architecture llama.cpp does not know, DamagedDataError for a
    truncated one.
    """

    def __init__(
        self, path: Path, *, context_tokens: int = 1024, sequences: int = 8, threads: int = 0,
        backend: str = "llama.cpp",
    ):
        self.path, self.context_tokens, self.sequences = Path(path), context_tokens, sequences
        cells = max(context_tokens, 2048 if sequences > 1 else 0)
        self._engine = open_engine(backend, self.path, cells=cells, sequences=sequences + 1, threads=threads)
        try:
            self._template = ChatTemplate(self._engine)
        except BaseException:
            self._engine.close()
            raise
        self.hidden, self.vocabulary = self._engine.hidden, self._engine.vocabulary
        self.adapter: Path | None = None
        self._cached: list[int] = []  # tokens whose KV cells sequence 0 holds, for chat

    @cached_property
    def sha256(self) -> str:
        return sha256(self.path)

    def tokenize(self, text: str, special: bool = False, begin: bool = False) -> list[int]:
        """Token ids; `special` reads control tokens, `begin` puts the model's first token in front."""
        return self._open.tokenize(text, special, begin)

    def detokenize(self, tokens: list[int]) -> str:
        return b"".join(map(self._open.piece, tokens)).decode("utf-8", "replace")

    def encode_prompt(self, messages: list[dict]) -> list[int]:
        """A conversation's tokens, up to where the assistant's next turn begins."""
        return self._template.encode_prompt(messages)

    def encode_exchange(
        self, question: str, response: str, *, system: str = "", shown: list[dict] = (), longest: int | None = None,
        learn_question: bool = False,
    ) -> Example:
        """A training example whose prompt is token for token what `chat` sends; `shown`: turns before the question."""
        return self._template.encode_exchange(question, response, system, shown, longest, learn_question)

    def encode_text(self, text: str, *, longest: int | None = None) -> Example:
        """Plain text, every token but the first a label."""
        return labelled(self.tokenize(text, begin=True)[:longest], start=1)

    def chat(
        self, messages: list[dict], *, max_tokens: int, temperature: float, top_p: float, seed: int,
        shown: int = 0, on_text: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Reply:
        """Answer the last message; `on_text` gets the text as it comes, always whole characters.

        `should_stop` is asked before each decode; the part of the answer that is there then is returned.
        Where the context has no room for all messages the oldest are left out (see `fitting`); `shown`: how many
        stand before the conversation, to be kept longest.
        """
        prompt, left_out = self.fitting(messages, max_tokens, shown)
        kept = common_length(self._cached, prompt[:-1])
        watched = self._question_range(prompt, messages[-1]["content"], kept)
        kept = min(kept, watched.start)  # a question asked twice is embedded twice
        self._open.forget(0, kept)
        self._cached = self._cached[:kept]
        slot = _Slot(0, 0, prompt[kept:], kept, max_tokens, self._open.sampler(temperature, top_p, seed), watched)
        stream = _TextStream(on_text)
        try:
            while not slot.stop:
                if should_stop():
                    slot.stop = "asked"
                    break
                self._advance([slot], None)
                # What is decoded so far; an interrupted answer leaves a cache that still tells the truth.
                self._cached = [*prompt, *slot.reply][: slot.position]
                if slot.reply and not slot.stop == "end":
                    stream.write(self._open.piece(slot.reply[-1]))
        finally:
            self._engine.free_sampler(slot.sampler)
        return replace(self._reply(slot, len(prompt)), left_out=left_out)

    def fitting(self, messages: list[dict], max_tokens: int, shown: int = 0) -> tuple[list[int], int]:
        """The messages' tokens with room for a reply of `max_tokens`, and how many of the conversation were left out.

        The older half of a conversation's exchanges goes at once, and again: llama.cpp reads what is left anew, so
        this should happen seldom, and all that is tokenized stays within twice the whole. The `shown` messages after
        the system message stay; only where the question does not fit beside them, they go too, the first ones first.
        """
        begin = 1 if messages[0]["role"] == "system" else 0
        system, pinned, turns = messages[:begin], messages[begin : begin + shown], messages[begin + shown :]
        given = len(turns)
        while True:
            prompt = self.encode_prompt([*system, *pinned, *turns])
            if len(prompt) + max_tokens <= self.context_tokens:
                return prompt, given - len(turns)
            if len(turns) > 2:
                turns = _without_older_half(turns)
            elif pinned:
                pinned = _without_older_half(pinned)
            else:
                self._check_fit(len(prompt) + max_tokens, self.context_tokens)

    def generate(
        self, prompts: list[list[int]], *,
        max_tokens: int | list[int], temperature: float, top_p: float, seeds: list[int],
        stop_text: str | None = None, questions: list[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Reply]:
        """Answer many prompts, several at a time. With `questions`, their embeddings are returned too.

        `max_tokens` is one limit for all, or one for each prompt. `progress` gets the number answered after
        every step; what it raises ends the work.
        Raises UsageError when a prompt does not fit the context.
        """
        if not prompts:
            return []
        limits = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else max_tokens
        largest = max(len(prompt) + limit for prompt, limit in zip(prompts, limits))
        self._check_fit(largest)
        self.clear()
        watched = [range(0)] * len(prompts)
        if questions:
            watched = [self._question_range(prompt, question, 0) for prompt, question in zip(prompts, questions)]
        waiting, active, replies = deque(range(len(prompts))), [], [None] * len(prompts)
        free = list(range(self.sequences))
        try:
            longest = min(w.start for w in watched) if questions else largest
            if not self._engine.shares_cells:  # then the beginning needs room beside the largest prompt's copy of it
                longest = min(longest, self._engine.cells - largest)
            shared = self._share_beginning(prompts, longest, progress)
            while waiting or active:
                while waiting and free and self._room(active, len(prompts[waiting[0]]) + limits[waiting[0]], shared):
                    number = waiting.popleft()
                    sampler = self._open.sampler(temperature, top_p, seeds[number])
                    place = number, free.pop(), prompts[number], shared, limits[number]
                    active.append(self._start(*place, sampler, watched[number]))
                self._advance(active, stop_text)
                for slot in [slot for slot in active if slot.stop]:
                    replies[slot.number] = self._reply(slot, len(prompts[slot.number]))
                    self._engine.free_sampler(slot.sampler)
                    self._open.forget(slot.sequence)
                    active.remove(slot)
                    free.append(slot.sequence)
                if progress:
                    progress(len(prompts) - len(waiting) - len(active))
        finally:
            for slot in active:
                self._engine.free_sampler(slot.sampler)
            self.clear()
        return replies

    def negative_log_likelihood(self, examples: list[Example], progress=None) -> tuple[float, int]:
        """Summed loss in nats over the labelled positions, and their number."""
        self.clear()
        total, count = 0.0, 0
        for done, (tokens, labels) in enumerate(examples, start=1):
            self._check_fit(len(tokens))
            for logits, wanted in self._labelled_logits(tokens, labels):
                highest = logits.max(axis=1)
                spread = np.log(np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64))
                total += float((spread + highest - logits[np.arange(len(wanted)), wanted]).sum())
                count += len(wanted)
            self._open.forget(0)
            if progress:
                progress(done)
        return total, count

    def logits(self, tokens: list[int]) -> np.ndarray:
        """What follows each of `tokens`: float32 (n, vocabulary). For comparisons; `chat` never holds so many."""
        self._check_fit(len(tokens))
        self.clear()
        rows = []
        for items in _batches([Item(int(t), i, 0, True) for i, t in enumerate(tokens)], BATCH):
            self._decode(items)
            rows += [self._engine.logits(i).copy() for i in range(len(items))]
        self.clear()
        return np.stack(rows)

    def embed_exchange(self, question: str, reply: str, system: str = "") -> TokenEmbeddings:
        """An exchange's embeddings, as the first turn of a `chat` would have given them.

        The conversation's KV cache stays where there is room beside it.
        """
        prompt = self.encode_prompt(conversation(question, system))
        tokens = [*prompt, *self._template.encode_reply(reply)[:-1]][: self._engine.cells]
        asked = self._question_range(prompt, question, 0)
        watched = {*asked, *range(len(prompt), len(tokens))}
        if len(self._cached) + len(tokens) > self._engine.cells:
            self.clear()
        rows = []
        for items in _batches([Item(t, i, self.sequences, i in watched) for i, t in enumerate(tokens)], BATCH):
            self._decode(items, embeddings=True)
            rows += [self._engine.embedding(i) for i, item in enumerate(items) if item.output]
        self._open.forget(self.sequences)
        return self._embeddings(rows[: len(asked)], rows[len(asked) :])

    def load_adapter(self, path: Path, scale: float = 1.0, known_as: Path | None = None) -> None:
        """Answer with this adapter from now on; the base stays loaded, the KV cache is cleared.

        `known_as` is what `adapter` says where the file loaded is a decrypted one in memory.
        DamagedDataError for a file that is no adapter for this model; the one in use stays then.
        """
        self._open.set_adapter(Path(path), scale)
        self.adapter, self._cached = Path(known_as or path), []

    def remove_adapter(self) -> None:
        if self.adapter is not None:
            self._open.set_adapter(None, 0.0)
            self.adapter, self._cached = None, []

    def clear(self) -> None:
        """Forget the KV cache of the conversation."""
        self._open.clear()
        self._cached = []

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> "BaseModel":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def _open(self):
        if self._engine.closed:
            raise UsageError("the model is closed; open it again")
        return self._engine

    def _decode(self, items: list[Item], embeddings: bool = False) -> None:
        try:
            self._open.decode(items, embeddings)
        except UsageError:
            self._cached = []  # the engine has let go of all it held
            raise

    def _advance(self, slots: list[_Slot], stop_text: str | None) -> None:
        """One decode for all slots: a piece of a prompt for some, the last token for others; then sample."""
        items, owners = [], []
        for slot in slots:
            for token in slot.waiting[: BATCH - len(items)]:
                position = slot.position + len([1 for o in owners if o is slot])
                last = position == slot.position + len(slot.waiting) - 1
                items.append(Item(token, position, slot.sequence, last or position in slot.watched))
                owners.append(slot)
        self._decode(items, embeddings=any(slot.watched for slot in slots))
        for i, (item, slot) in enumerate(zip(items, owners)):
            if item.output:
                self._take(slot, i, item.position)
        for slot in slots:
            taken = sum(owner is slot for owner in owners)
            slot.waiting, slot.position = slot.waiting[taken:], slot.position + taken
            if taken and not slot.waiting:
                self._sample(slot, owners, stop_text)

    def _take(self, slot: _Slot, item: int, position: int) -> None:
        if slot.watched and (position in slot.watched or slot.reply):
            rows = slot.question_embeddings if position in slot.watched else slot.reply_embeddings
            rows.append(self._engine.embedding(item))

    def _sample(self, slot: _Slot, owners: list, stop_text: str | None) -> None:
        last = len(owners) - 1 - owners[::-1].index(slot)
        token = self._engine.sample(slot.sampler, last)
        if self._engine.is_end(token):
            slot.stop = "end"
            return
        slot.reply.append(token)
        slot.waiting = [token]
        slot.text += self._engine.piece(token)
        if stop_text and stop_text.encode() in slot.text.lstrip():
            slot.stop = "end"
        elif len(slot.reply) >= slot.longest:
            slot.stop = "length"

    def _start(self, number, sequence, prompt, shared, longest, sampler, watched) -> _Slot:
        if shared:
            self._open.share(self.sequences, sequence, shared)
        return _Slot(number, sequence, prompt[shared:], shared, longest, sampler, watched)

    def _share_beginning(self, prompts: list[list[int]], longest: int, progress) -> int:
        """Decode what all prompts begin with once, up to `longest` tokens, in the last sequence; returns how many."""
        length = min(common_length(prompts[0], prompt[:-1][:longest]) for prompt in prompts)
        if len(prompts) == 1 or length < 8:
            return 0
        beginning = [Item(t, i, self.sequences, False) for i, t in enumerate(prompts[0][:length])]
        for items in _batches(beginning, BATCH):
            items[-1] = items[-1]._replace(output=True)  # llama.cpp wants an output in every batch
            self._decode(items)
            if progress:
                progress(0)
        return length

    def _room(self, active: list[_Slot], tokens: int, shared: int) -> bool:
        """Whether a prompt and reply of `tokens` fit the KV cells beside those being answered."""
        held = shared if self._engine.shares_cells else 0  # of each prompt, by the beginning's own cells
        reserved = sum(slot.position + len(slot.waiting) + slot.longest - len(slot.reply) - held for slot in active)
        return shared + reserved + tokens - held <= self._engine.cells

    def _reply(self, slot: _Slot, prompt_tokens: int) -> Reply:
        embeddings = self._embeddings(slot.question_embeddings, slot.reply_embeddings) if slot.watched else None
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(slot.text))  # a cut character is left out
        return Reply(text.strip(), slot.reply, embeddings, slot.stop, prompt_tokens)

    def _embeddings(self, question: list[np.ndarray], reply: list[np.ndarray]) -> TokenEmbeddings:
        return TokenEmbeddings(*(np.reshape(rows, (-1, self.hidden)).astype(np.float32) for rows in (question, reply)))

    def _question_range(self, prompt: list[int], question: str, kept: int) -> range:
        """Positions of the question's own tokens in the prompt; all new ones where it is not found."""
        return self._template.question_range(prompt, question) or range(kept, len(prompt))

    def fits(self, tokens: int) -> bool:
        """Whether `generate` has room for a prompt and reply of so many tokens."""
        return tokens <= self._engine.cells

    def _check_fit(self, tokens: int, room: int | None = None) -> None:
        room = room or self._engine.cells
        if tokens > room:
            raise UsageError(
                f"{tokens} tokens do not fit the context of {room}; shorten the text or raise context_tokens"
            )

    def _labelled_logits(self, tokens, labels):
        """Pairs of logits (n, vocabulary) and labels (n,), a few positions at a time."""
        size = max(1, min(BATCH, LOGIT_BYTES // (4 * self.vocabulary)))
        items = [Item(int(t), i, 0, bool(labels[i] >= 0)) for i, t in enumerate(tokens)]
        for part in _batches(items, size):
            wanted = [item.position for item in part if item.output]
            quiet = not wanted
            self._decode([*part[:-1], part[-1]._replace(output=True)] if quiet else part)
            if wanted:
                rows = [self._engine.logits(i) for i, item in enumerate(part) if item.output]
                yield np.stack(rows), labels[wanted]


class _TextStream:
    """Passes bytes on as text, whole characters only."""

    def __init__(self, on_text):
        self._on_text = on_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> None:
        text = self._decoder.decode(data)
        if text and self._on_text:
            self._on_text(text)


def _without_older_half(turns: list[dict]) -> list[dict]:
    """Without the first half of their pairs of question and answer, one at least."""
    return turns[2 * max(1, len(turns) // 4) :]


def common_length(first: list[int], second: list[int]) -> int:
    """How many tokens two lists begin with in common."""
    count = 0
    for a, b in zip(first, second):
        if a != b:
            break
        count += 1
    return count


def _batches(items: list, size: int):
    for start in range(0, len(items), size):
        yield items[start : start + size]
