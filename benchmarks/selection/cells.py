"""One cell of the selection benchmark: select from a stream, have the buffer answered, train, measure.

Every policy gets the same number of annotations (the buffer's bins) and, on a stream, the same number of training rows
of up to 256 tokens. What differs is which exchanges it kept, and with their lengths how often they fit those rows. The
selection itself is the product's own code on a real store.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from idletune.dialogue import Exchange
from idletune.examples import Example, labelled_example
from idletune.formats.gguf_writer import write_gguf
from idletune.learning.rouge import rouge1
from idletune.learning.synthesis import SynthesisReport, Synthesizer
from idletune.model.base_model import BaseModel
from idletune.selection.buffer import Buffer
from idletune.selection.lexical import LexicalIndex
from idletune.selection.lexicons import Lexicons
from idletune.selection.observation import Observer
from idletune.selection.policies import make_policy
from idletune.selection.retrieval import answered_first, few_shot_count
from idletune.settings import Settings, parse_setting
from idletune.state.store import Store
from idletune.training.activation_cache import ActivationCache
from idletune.training.packing import pack, plan_sequences
from idletune.training.trainer import Trainer
from rouge_score import rouge_scorer

from .gains import FIFTHS, USUAL
from .streams import FEW, Stream

GENERATED, REPLY_TOKENS = 20, 40
LONGEST = 256
ADAPTER_FORM = ("targets", "rank", "alpha", "top_share", "matmul_dtype")  # settings that layers are made for


@dataclass(frozen=True)
class Cell:
    """Which experiment: `policy` of the product or "all_data" (every exchange answered; with the usual training in as
    many rows as the others, as it comes in as many passes); `measures_more` adds retrieval and, for one user of
    each data set, the first seed, the product's and a random choice, ROUGE; `fifths` of the stream are seen before
    training, 5 of them being all; `changed` settings ("name=value name=value") differ from the product's."""

    stream: str
    policy: str
    bins: int
    paraphrases: int
    seed: int
    eoe_reading: str = "token"
    measures_more: bool = False
    fifths: int = FIFTHS
    changed: str = ""

    @property
    def key(self) -> str:
        *known, fifths, changed = asdict(self).values()
        known += [f"{fifths} fifths"] if fifths < FIFTHS else []
        return "|".join(map(str, [*known, *([changed] if changed else [])]))

    @property
    def writes(self) -> bool:
        """Whether what it writes is measured, which takes as long as all the rest."""
        ours = self.policy == self.settings.policy and not self.changed
        first = self.measures_more and self.seed == 0 and self.stream in FEW
        return first and (ours or (self.policy, self.changed) == ("random", USUAL))

    @property
    def settings(self) -> Settings:
        pairs = [pair.split("=") for pair in self.changed.split()]
        known = {"seed": self.seed, "eoe_reading": self.eoe_reading, "paraphrases": self.paraphrases}
        return Settings(**known, **{name: parse_setting(name, value) for name, value in pairs})


class Measured(NamedTuple):
    """Examples, and what enters the first trained layer: the same with every adapter, so it is taken once."""

    examples: list[Example]
    activation_cache: ActivationCache


class Retrieved(NamedTuple):
    """Held-out exchanges behind the answers that a buffer shows, and the untouched base's losses on them."""

    buffer: tuple
    measured: Measured
    alone: list[float]


class Bench:
    """What all cells share: the model in both engines; layers that train, and some in float32 that measure.

    `make_layers(settings)` makes those. What does not hang on the adapter is measured once for cells that follow each
    other: the base on a stream, and retrieval from a buffer (some policies keep the same with every seed).
    """

    def __init__(self, model: BaseModel, make_layers: Callable, probe: list):
        self.model, self.make_layers, self.probe = model, make_layers, probe
        self._form: tuple | None = None
        self._base: dict[str, dict] = {}
        self._retrieved: Retrieved | None = None
        self._pass: dict[str, float] = {}

    def use(self, cell: Cell) -> None:
        """Have layers as the cell's settings ask for; they stay until an adapter of another form is asked for."""
        self.settings = cell.settings
        form = tuple(getattr(self.settings, name) for name in ADAPTER_FORM)
        if form != self._form:
            self._form = form
            self.layers = self.measuring = self._retrieved = None  # one pair at a time
            self.layers = self.make_layers(self.settings)
            self.measuring = self.make_layers(replace(self.settings, matmul_dtype="float32"))
            self._base, self._probed = {}, self.measured(self.probe)

    def run(self, cell: Cell, stream: Stream) -> dict:
        """All the cell's figures; losses are in nats per token, one for each held-out exchange."""
        start = time.monotonic()
        self.use(cell)
        kept, replaced = select(cell, stream)
        pairs = [(stream.seen[i].question, stream.seen[i].response) for i in kept]
        found = {**asdict(cell), "kept": kept, "asked": len(kept), "replaced": replaced}
        base = self.base(stream)
        lora = self.layers.lora.initialize(cell.seed)
        sets = len(kept) if cell.policy == "all_data" and not cell.changed else cell.bins
        rows = max(cell.settings.min_steps, round(cell.settings.epochs * self.rows_of_a_pass(stream, sets)))
        found |= self.train(cell, rows, pairs, self.paraphrased(cell, pairs, found))
        found |= {"base": base["losses"], "adapted": self.losses(base["measured"])}
        found |= {"probe_base": base["probe"], "probe_adapted": float(np.mean(self.losses(self._probed)))}
        if cell.measures_more:
            found |= self.more(cell, stream, kept, base)
        lora.flat[...] = 0
        return {**found, "seconds": round(time.monotonic() - start, 1)}

    def base(self, stream: Stream) -> dict:
        """The untouched base, measured once."""
        if stream.name not in self._base:
            plain = self.measured(self.examples(stream))
            with self.layers.lora.disabled():
                probe, losses = float(np.mean(self.losses(self._probed))), self.losses(plain)
            self._base[stream.name] = {"measured": plain, "losses": losses, "probe": probe}
        return self._base[stream.name]

    def paraphrased(self, cell: Cell, pairs, found: dict) -> list[tuple[str, str]]:
        if not cell.paraphrases:
            return []
        report = SynthesisReport()
        questions = Synthesizer(self.model, cell.settings).paraphrase([q for q, _ in pairs], report, cell.seed)
        found["synthesis"] = {"asked": report.asked, "accepted": report.accepted}
        return [(text, pair[1]) for pair, texts in zip(pairs, questions) for text in texts]

    def rows_of_a_pass(self, stream: Stream, sets: int) -> float:
        """Rows of 256 tokens that so many exchanges of the stream fill, were they as long as its mean."""
        if stream.name not in self._pass:
            examples = [self.model.encode_exchange(e.question, e.response, max_tokens=LONGEST) for e in stream.seen]
            self._pass[stream.name] = len(plan_sequences(examples, LONGEST, range(len(examples)))) / len(examples)
        return sets * self._pass[stream.name]

    def train(self, cell: Cell, rows: int, pairs, reworded) -> dict:
        """So many rows, whatever was kept and reworded, over as many passes as it takes."""
        learned = cell.settings.train_on_questions
        examples = [self.model.encode_exchange(q, r, max_tokens=LONGEST, train_on_question=learned) for q, r in pairs]
        examples += [self.model.encode_exchange(q, r, max_tokens=LONGEST) for q, r in reworded]
        trainer = Trainer(self.layers, examples, replace(cell.settings, epochs=rows, min_steps=0))
        trainer.sequences = trainer.sequences[:rows]
        outcome = trainer.run()
        return {"rows": rows, "tokens": outcome.tokens, "training_seconds": round(outcome.seconds, 1)}

    def more(self, cell: Cell, stream: Stream, kept: list[int], base: dict) -> dict:
        """Retrieval of the same buffer, with and without the adapter; and what it writes."""
        retrieved = self.retrieved(stream, kept)
        found = {"retrieval": retrieved.alone, "retrieval_adapted": self.losses(retrieved.measured)}
        return found | (self.written(cell, stream, kept, base) if cell.writes else {})

    def retrieved(self, stream: Stream, kept: list[int]) -> Retrieved:
        """Retrieval from this buffer without an adapter; held for the next cell."""
        buffer = stream.name, tuple(kept), self.settings.retrieve, self.settings.retrieve_tokens
        if self._retrieved is None or self._retrieved.buffer != buffer:
            self._retrieved = None  # one at a time: some 100 MB
            measured = self.measured(self.examples(stream, kept))
            with self.layers.lora.disabled():
                self._retrieved = Retrieved(buffer, measured, self.losses(measured))
        return self._retrieved

    def written(self, cell: Cell, stream: Stream, kept: list[int], base: dict) -> dict:
        """ROUGE of what llama.cpp writes; slow, so with retrieval for the product as it comes alone."""
        if "rouge" not in base:
            base["rouge"] = self.rouge(stream)
        with self.served():
            found = {"rouge_base": base["rouge"], "rouge_adapted": self.rouge(stream)}
            if not cell.changed:
                found["rouge_both"] = self.rouge(stream, kept)
        return found

    def measured(self, examples: list[Example]) -> Measured:
        """The examples, to be measured more than once with the layers there are."""
        return Measured(examples, ActivationCache(self.measuring, examples, LONGEST))

    def losses(self, measured: Measured) -> list[float]:
        """Mean loss of each example in the trainer, several to a row."""
        examples, found = measured.examples, []
        trained, copy = self.layers.lora, self.measuring.lora  # what is measured is what was trained
        copy.flat[...], copy.alpha = trained.flat, trained.alpha
        for numbers in plan_sequences(examples, LONGEST, range(len(examples))):
            sets, states = zip(*((examples[number], measured.activation_cache.of(number)) for number in numbers))
            counts = [int((example.labels >= 0).sum()) for example in sets]
            each = np.split(self.measuring.token_losses(pack(sets, states)), np.cumsum(counts)[:-1])
            found += [float(losses.mean()) for losses in each]
        return found

    def examples(self, stream: Stream, kept: list[int] | None = None):
        """The held-out exchanges as examples; with `kept`, the nearest answered ones stand before each."""
        return [self._example(stream, number, kept) for number in range(len(stream.held_out))]

    def rouge(self, stream: Stream, kept: list[int] | None = None) -> dict:
        """ROUGE-1 and ROUGE-L of greedy answers to the first held-out questions, as llama.cpp gives them now."""
        exchanges = stream.held_out[:GENERATED]
        replies = self.model.generate(
            [self._prompt(stream, number, kept) for number in range(len(exchanges))],
            max_tokens=REPLY_TOKENS,
            temperature=0.0,
            top_p=1.0,
            seeds=[0] * len(exchanges),
        )
        longest = rouge_scorer.RougeScorer(["rougeL"])
        pairs = [(reply.text, exchange.response) for reply, exchange in zip(replies, exchanges)]
        return {
            "rouge1": float(np.mean([rouge1(text, real) for text, real in pairs])),
            "rougeL": float(np.mean([longest.score(real, text)["rougeL"].fmeasure for text, real in pairs])),
        }

    @contextmanager
    def served(self):
        """llama.cpp answers with the adapter that was trained."""
        lora = self.layers.lora
        metadata = {
            "general.type": "adapter",
            "general.architecture": lora.shape.architecture,
            "adapter.type": "lora",
            "adapter.lora.alpha": lora.alpha,
        }
        with tempfile.TemporaryDirectory() as folder:
            write_gguf(Path(folder) / "adapter.gguf", metadata, lora.tensors())
            self.model.load_adapter(Path(folder) / "adapter.gguf")
            try:
                yield
            finally:
                self.model.remove_adapter()

    def _prompt(self, stream: Stream, number: int, kept: list[int] | None) -> list[int]:
        return prompt_behind(stream.seen, kept or [], stream.held_out[number].question, self.model, self.settings)

    def _example(self, stream: Stream, number: int, kept: list[int] | None):
        exchange = stream.held_out[number]
        plain = self.model.encode_exchange(exchange.question, exchange.response, max_tokens=LONGEST)
        if kept is None:
            return plain
        prompt, reply = self._prompt(stream, number, kept), plain.labels[plain.labels >= 0].tolist()
        return labelled_example([*prompt, *reply], start=len(prompt))


def prompt_behind(
    seen: list[Exchange], kept: list[int], question: str, model: BaseModel, settings: Settings
) -> list[int]:
    """A question's prompt behind those of the kept exchanges that the product retrieves, the best last."""
    return prompt_after(seen, ranked_by_words(seen, kept, question), question, model, settings)


def prompt_after(
    seen: list[Exchange], ranked: list[int], question: str, model: BaseModel, settings: Settings
) -> list[int]:
    """A question's prompt behind the first of the ranked exchanges, as many as the product shows, the best last."""
    lengths = (sum(len(model.tokenize(t)) for t in (seen[i].question, seen[i].response)) for i in ranked)
    shown = ranked[: few_shot_count(lengths, settings.retrieve, settings.retrieve_tokens)][::-1]
    said = [text for i in shown for text in (seen[i].question, seen[i].response)]
    return model.encode_prompt(turns([*said, question]))[-3 * LONGEST :]


def turns(texts: list[str]) -> list[dict]:
    """Texts as the turns of a conversation, the user's first."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def ranked_by_words(seen: list[Exchange], kept: list[int], question: str) -> list[int]:
    """Numbers of all kept exchanges, those that fit a question best first, as the product ranks them."""
    index = LexicalIndex()
    for i in kept:
        index.add(i, f"{seen[i].question}\n{seen[i].response}")
    return answered_first([id for id, _ in index.search(question)], sorted(kept, reverse=True))


def select(cell: Cell, stream: Stream) -> tuple[list[int], int]:
    """Numbers of the exchanges in the buffer after the cell's part of the stream, and how many were replaced on the
    way."""
    seen = stream.seen[: len(stream.seen) * cell.fifths // FIFTHS]
    if cell.policy == "all_data":
        return list(range(len(seen))), 0
    with tempfile.TemporaryDirectory() as home, Store(Path(home)) as store:
        hidden = stream.questions.shape[1]
        buffer = Buffer(store, make_policy(cell.policy, cell.seed), cell.bins, hidden=hidden)
        observer, numbers, replaced = Observer(buffer, Lexicons.builtin(), cell.eoe_reading), {}, 0
        for number, exchange in enumerate(seen):
            admission = observer.observe(
                exchange.question, stream.replies[number] or " ", stream.embeddings[number], float(number)
            ).admission
            if admission.id is not None:
                numbers[admission.id] = number
                replaced += admission.evicted is not None
        return sorted(numbers[s.id] for s in buffer.sets()), replaced
