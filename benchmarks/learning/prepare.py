"""Prepares the examples of all experiments, with the product's own encoding, selection and retrieval.

What is kept of a stream's answers is what the selection benchmark's cells say (results/selection_cells.jsonl). Second
replies and embeddings of questions come from a pass over the base model (samples.py), which needs the first file alone.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, cast

import numpy as np
from idletune.dialogue import Exchange
from idletune.examples import Example, labelled_example
from idletune.learning.few_shot import few_shot_turns
from idletune.learning.synthesis import SynthesisReport, Synthesizer, clean
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from idletune.selection.retrieval import fused
from idletune.selection.standardization import Standardization
from idletune.settings import Settings
from retrieval_gain import kept_before
from selection.cells import LONGEST, prompt_after, ranked_by_words
from selection.streams import split_stream
from taps import chosen_first

from .examples_file import ExamplesFile
from .streams import EXCHANGES, KEPT, LENGTH, PARAPHRASES, TAPS

LONG_ROWS = 3 * LONGEST  # tokens of a row that holds an answer behind those that retrieval shows for it


class Sampled(NamedTuple):
    """By stream: two replies to each of its first EXCHANGES questions in random order; embeddings float32 (n, hidden)
    of the kept exchanges' questions and of the held-out ones', in this order."""

    replies: dict[str, list[list[str]]]
    embeddings: dict[str, np.ndarray]


class Recorder:
    """Stands in for the model that a synthesizer asks: keeps the prompts, and answers with texts written elsewhere."""

    def __init__(self, model: BaseModel, written: Sequence[str]):
        self.tokenize, self.fits, self._written = model.tokenize, model.fits, list(written)
        self.prompts: list[list[int]] = []
        self.rooms: list[int] = []

    def generate(self, prompts: list[list[int]], max_tokens: list[int], **sampling) -> list[SimpleNamespace]:
        self.prompts, self.rooms = prompts, max_tokens
        return [SimpleNamespace(text=text) for text in self._written or [""] * len(prompts)]


class Preparation:
    """Fills `file` for one model; streams are read from the folder `data`."""

    def __init__(self, model: BaseModel, data: Path):
        self.model, self.data, self.file, self.settings = model, data, ExamplesFile(), Settings()
        self._kept = {stream: cell["kept"] for stream, cell in kept_before().items()}

    def ends(self) -> None:
        """The tokens that end a reply."""
        self.file.facts["ends"] = [t for t in range(self.model.vocabulary) if self.model.engine.is_end(t)]

    def questions(self) -> None:
        """What is sampled and embedded: prompts (their labels mean nothing), and questions as labels."""
        for stream in TAPS:
            prompts = [self._prompt(exchange) for exchange in self.tapped(stream)]
            self.file[f"{stream}|prompts"] = [labelled_example(prompt, start=len(prompt)) for prompt in prompts]
        for stream in KEPT:
            seen, held_out = split_stream(stream, LENGTH, self.data)
            asked = [seen[i] for i in self._kept[stream]] + held_out
            self.file[f"{stream}|questions"] = [self._question(exchange) for exchange in asked]

    def answers(self, streams: Sequence[str] = KEPT) -> None:
        """The kept answers of the streams, plain and behind those that retrieval shows for them; what is held out."""
        with Progress("answers", len(streams)) as bar:
            for number, stream in enumerate(streams):
                seen, held_out = split_stream(stream, LENGTH, self.data)
                sets = [seen[i] for i in self._kept[stream]]
                self.file[f"{stream}|kept"] = self._encoded(sets)
                self.file[f"{stream}|kept, {LONG_ROWS}"] = [self._encode(e, e.response, True, LONG_ROWS) for e in sets]
                self.file[f"{stream}|held_out"] = self._encoded(held_out, asked=False)
                turns = few_shot_turns(sets, Settings(few_shot_share=1.0), self._count)
                for tokens in (LONGEST, LONG_ROWS):
                    self.file[f"{stream}|kept behind others, {tokens}"] = [
                        self._encode(e, e.response, True, tokens, shown) for e, shown in zip(sets, turns)
                    ]
                bar(number + 1)

    def retrieval(self, embeddings: dict[str, np.ndarray]) -> None:
        """What is held out behind what words find, what embeddings find, and what both find."""
        with Progress("retrieval", len(KEPT)) as bar:
            for number, stream in enumerate(KEPT):
                seen, held_out = split_stream(stream, LENGTH, self.data)
                kept = self._kept[stream]
                by_embedding = nearest(kept, embeddings[stream])
                ranked: dict[str, list[list[int]]] = {
                    "words": [ranked_by_words(seen, kept, e.question) for e in held_out],
                    "embeddings": by_embedding,
                }
                ranked["fused"] = [fused(*both) for both in zip(ranked["words"], by_embedding)]
                for way, orders in ranked.items():
                    self.file[f"{stream}|held_out, {way}"] = [
                        self._behind(seen, order, exchange) for order, exchange in zip(orders, held_out)
                    ]
                bar(number + 1)

    def taps(self, replies: dict[str, list[list[str]]]) -> None:
        """Typed answers, and of each question's two replies the one that the simulated user picks by ROUGE-L, then the
        other; each as it is learned when it is chosen and when it is rejected."""
        with Progress("taps", len(TAPS)) as bar:
            for number, stream in enumerate(TAPS):
                seen, held_out = split_stream(stream, LENGTH, self.data)
                exchanges, pairs = self.tapped(stream), replies[stream]
                picked = chosen_first(pairs, exchanges, "ROUGE-L")
                self.file[f"{stream}|typed"] = self._encoded(exchanges)
                self.file[f"{stream}|seen"] = self._encoded(seen)
                self.file[f"{stream}|held_out"] = self._encoded(held_out, asked=False)
                for side, name in enumerate(("first", "second")):
                    texts = [pair[side] for pair in picked]
                    self.file[f"{stream}|{name} chosen"] = self._encoded(exchanges, texts)
                    self.file[f"{stream}|{name} rejected"] = self._encoded(exchanges, texts, asked=False)
                self.file.facts.setdefault("as good", {})[stream] = [pair[0] == pair[1] for pair in pairs]
                bar(number + 1)

    def paraphrases(self, streams: Sequence[str], replies: dict[str, list[list[int]]]) -> None:
        """What the synthesizer asks the model for each stream's kept answers and, where there are replies (tokens), the
        paraphrases that it accepts of them as examples."""
        with Progress("paraphrases", len(streams)) as bar:
            for number, stream in enumerate(streams):
                sets = [self._seen(stream)[i] for i in self._kept[stream]]
                written = [clean(self.model.detokenize(tokens)) for tokens in replies.get(stream, [])]
                asked, report = Recorder(self.model, written), SynthesisReport()
                synthesizer = Synthesizer(cast(BaseModel, asked), Settings(paraphrases=PARAPHRASES))
                found = synthesizer.paraphrase([e.question for e in sets], report, seed=0)
                self.file[f"{stream}|paraphrase prompts"] = [labelled_example(p, start=len(p)) for p in asked.prompts]
                self.file.facts.setdefault("rooms", {})[stream] = asked.rooms
                if written:
                    self.file.facts.setdefault("accepted", {})[stream] = [report.accepted, report.asked]
                    self.file[f"{stream}|paraphrases"] = [
                        self._encode(Exchange(text, e.response), e.response, False)
                        for e, texts in zip(sets, found)
                        for text in texts
                    ]
                bar(number + 1)

    def _seen(self, stream: str) -> list[Exchange]:
        return split_stream(stream, LENGTH, self.data)[0]

    def tapped(self, stream: str) -> list[Exchange]:
        """The exchanges that are answered or tapped on, in the order of benchmarks/taps.py."""
        seen, _ = split_stream(stream, LENGTH, self.data)
        return [seen[i] for i in np.random.default_rng(0).permutation(len(seen))[:EXCHANGES]]

    def _encoded(self, exchanges: Sequence[Exchange], texts: Sequence[str] = (), asked: bool = True) -> list[Example]:
        texts = texts or [exchange.response for exchange in exchanges]
        return [self._encode(exchange, text, asked) for exchange, text in zip(exchanges, texts)]

    def _encode(self, exchange: Exchange, text: str, asked: bool, tokens: int = LONGEST, shown: list = []) -> Example:
        return self.model.encode_exchange(
            exchange.question, text, few_shot=shown, max_tokens=tokens, train_on_question=asked
        )

    def _behind(self, seen: list[Exchange], ranked: list[int], exchange: Exchange) -> Example:
        """As the selection benchmark has it: the reply is cut as it is without what is shown."""
        prompt = prompt_after(seen, ranked, exchange.question, self.model, self.settings)
        plain = self._encode(exchange, exchange.response, False)
        return labelled_example([*prompt, *plain.labels[plain.labels >= 0].tolist()], start=len(prompt))

    def _prompt(self, exchange: Exchange) -> list[int]:
        return self.model.encode_prompt([{"role": "user", "content": exchange.question}])

    def _question(self, exchange: Exchange) -> Example:
        """A prompt up to the question's end; the tokens of the question are those with a label and the one before."""
        prompt = self._prompt(exchange)
        asked = self.model.template.question_range(prompt, exchange.question) or range(len(prompt))
        return labelled_example(prompt[: asked.stop], start=asked.start + 1)

    def _count(self, text: str) -> int:
        return len(self.model.tokenize(text))


def nearest(kept: list[int], embeddings: np.ndarray) -> list[list[int]]:
    """For each question that is held out the kept exchanges, by the cosines of standardized embeddings."""
    known, asked = embeddings[: len(kept)], embeddings[len(kept) :]
    standardize = Standardization(known)
    cosines = standardize(asked) @ standardize(known).T
    return [[kept[place] for place in np.argsort(-row, kind="stable")] for row in cosines]


def read_samples(path: Path, file: ExamplesFile, model: BaseModel) -> Sampled:
    """The samples that belong to a file of questions; tokens become the texts that a user would see."""
    with np.load(path) as found:
        told = json.loads(str(found["replies"]))
        rows = iter(found["embeddings"])
    texts = {
        stream: [[model.detokenize(tokens).strip() for tokens in pair] for pair in pairs]
        for stream, pairs in told.items()
    }
    return Sampled(texts, {stream: _taken(rows, len(file[f"{stream}|questions"])) for stream in KEPT})


def _taken(rows: Iterable[np.ndarray], count: int) -> np.ndarray:
    return np.stack([row for row, _ in zip(rows, range(count))])
