"""Prepares the examples of all experiments, with the product's own encoding, selection and retrieval.

What is kept of a stream's answers is what the selection benchmark's cells say (results/selection_cells.jsonl). The two
replies that a user picks from are sampled elsewhere (samples.py), which needs the first file alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from idletune.dialogue import Exchange
from idletune.examples import Example, labelled_example
from idletune.learning.few_shot import few_shot_turns
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from idletune.settings import Settings
from retrieval_gain import kept_before
from selection.cells import LONGEST, prompt_behind
from selection.streams import split_stream

from .examples_file import ExamplesFile
from .simulated_user import chosen_first, nearness
from .streams import EXCHANGES, KEPT, LENGTH, TAPS

LONG_ROWS = 3 * LONGEST  # tokens of a row that holds an answer behind those that retrieval shows for it


class Preparation:
    """Fills `file` for one model; streams are read from the folder `data`."""

    def __init__(self, model: BaseModel, data: Path):
        self.model, self.data, self.file, self.settings = model, data, ExamplesFile(), Settings()
        self._kept = {stream: cell["kept"] for stream, cell in kept_before().items()}

    def ends(self) -> None:
        """The tokens that end a reply."""
        self.file.facts["ends"] = [t for t in range(self.model.vocabulary) if self.model.engine.is_end(t)]

    def prompts(self) -> None:
        """The questions that two replies are sampled to; their labels mean nothing."""
        for stream in TAPS:
            prompts = [self._prompt(exchange) for exchange in self.tapped(stream)]
            self.file[f"{stream}|prompts"] = [labelled_example(prompt, start=len(prompt)) for prompt in prompts]

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

    def retrieval(self) -> None:
        """What is held out behind those kept answers that the product shows for it."""
        with Progress("retrieval", len(KEPT)) as bar:
            for number, stream in enumerate(KEPT):
                seen, held_out = split_stream(stream, LENGTH, self.data)
                self.file[f"{stream}|held_out, words"] = [self._behind(seen, self._kept[stream], e) for e in held_out]
                bar(number + 1)

    def taps(self, replies: dict[str, list[list[str]]]) -> None:
        """Typed answers, and of each question's two replies the one that the simulated user picks by ROUGE-L, then the
        other; each as it is learned when it is chosen and when it is rejected. Of the reply that was sampled first, how
        near it is as well: a thumb goes by that."""
        with Progress("taps", len(TAPS)) as bar:
            for number, stream in enumerate(TAPS):
                seen, held_out = split_stream(stream, LENGTH, self.data)
                exchanges, pairs = self.tapped(stream), replies[stream]
                picked, replies_alone = chosen_first(pairs, exchanges), [pair[0] for pair in pairs]
                self.file[f"{stream}|typed"] = self._encoded(exchanges)
                self.file[f"{stream}|seen"] = self._encoded(seen)
                self.file[f"{stream}|held_out"] = self._encoded(held_out, asked=False)
                for side, name in enumerate(("first", "second")):
                    texts = [pair[side] for pair in picked]
                    self.file[f"{stream}|{name} chosen"] = self._encoded(exchanges, texts)
                    self.file[f"{stream}|{name} rejected"] = self._encoded(exchanges, texts, asked=False)
                self.file[f"{stream}|reply"] = self._encoded(exchanges, replies_alone)
                self.file.facts.setdefault("nearness", {})[stream] = nearness(replies_alone, exchanges)
                self.file.facts.setdefault("as good", {})[stream] = [pair[0] == pair[1] for pair in pairs]
                bar(number + 1)

    def tapped(self, stream: str) -> list[Exchange]:
        """The exchanges that are answered or tapped on, in random order."""
        seen, _ = split_stream(stream, LENGTH, self.data)
        return [seen[i] for i in np.random.default_rng(0).permutation(len(seen))[:EXCHANGES]]

    def _encoded(self, exchanges: Sequence[Exchange], texts: Sequence[str] = (), asked: bool = True) -> list[Example]:
        texts = texts or [exchange.response for exchange in exchanges]
        return [self._encode(exchange, text, asked) for exchange, text in zip(exchanges, texts)]

    def _encode(self, exchange: Exchange, text: str, asked: bool, tokens: int = LONGEST, shown: list = []) -> Example:
        return self.model.encode_exchange(
            exchange.question, text, few_shot=shown, max_tokens=tokens, train_on_question=asked
        )

    def _behind(self, seen: list[Exchange], kept: list[int], exchange: Exchange) -> Example:
        """As the selection benchmark has it: the reply is cut as it is without what is shown."""
        prompt = prompt_behind(seen, kept, exchange.question, self.model, self.settings)
        plain = self._encode(exchange, exchange.response, False)
        return labelled_example([*prompt, *plain.labels[plain.labels >= 0].tolist()], start=len(prompt))

    def _prompt(self, exchange: Exchange) -> list[int]:
        return self.model.encode_prompt([{"role": "user", "content": exchange.question}])

    def _count(self, text: str) -> int:
        return len(self.model.tokenize(text))


def read_replies(path: Path, model: BaseModel) -> dict[str, list[list[str]]]:
    """By stream, two replies to each of its first EXCHANGES questions in random order: the texts that a user sees."""
    return {
        stream: [[model.detokenize(tokens).strip() for tokens in pair] for pair in pairs]
        for stream, pairs in json.loads(path.read_text()).items()
    }
