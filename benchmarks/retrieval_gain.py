"""What retrieval by words gains, and by words and embeddings fused, beside retrieval by embeddings alone.

Run: make bench-retrieval, or python benchmarks/retrieval_gain.py [--minutes N] [--data FOLDER]
The selection benchmark's cells tell which exchanges the product kept of each stream, and the held-out losses behind
what version 0.2 retrieved of them by the embeddings of questions (by the trainer, which llama.cpp agrees with). Here
the loss of the same exchanges is measured behind what is retrieved now, and behind both ranks fused, by llama.cpp. Each
is a line in results/retrieval_cells.jsonl once it is done: an interrupted run goes on where it stood. All streams take
part from the start.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import RESULTS, done_lines, end_last_line, machine, write_results
from idletune.dialogue import Exchange
from idletune.examples import labelled_example
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from idletune.selection.retrieval import fused
from idletune.selection.scores import text_embedding
from idletune.selection.standardization import Standardization
from idletune.settings import Settings
from selection.cells import LONGEST, prompt_after, ranked_by_words
from selection.gains import interval
from selection.grid import BINS, OURS
from selection.streams import DATA, split_stream
from selection_quality import CELLS, LENGTH

LINES = RESULTS / "retrieval_cells.jsonl"
PARTS = (0, 2, 1, 3)  # quarters of each stream's held-out exchanges, every fourth in each
ARMS = ("words", "fused")


def kept_before() -> dict[str, dict]:
    """By stream: the cell of the product as it comes, first seed."""
    wanted = {"policy": OURS, "bins": BINS, "changed": "", "seed": 0, "paraphrases": 0, "measures_more": True}
    return {cell["stream"]: cell for cell in done_lines(CELLS) if wanted.items() <= cell.items()}


def order(cells: dict[str, dict]) -> Iterator[tuple[str, int]]:
    """Stream and number of all held-out exchanges, spread over all streams."""
    for part in PARTS:
        for stream, cell in cells.items():
            yield from ((stream, number) for number in range(part, len(cell["base"]), len(PARTS)))


def measured() -> dict[tuple[str, int], dict]:
    """The lines by stream and number; of an exchange measured twice the later one."""
    return {(line["stream"], line["number"]): line for line in done_lines(LINES)}


class Kept:
    """The kept exchanges of a stream, ranked for a question."""

    def __init__(self, model: BaseModel, seen: list[Exchange], numbers: list[int]):
        self.model, self.seen, self.numbers = model, seen, numbers
        rows = np.stack([self._embedding(seen[number].question) for number in numbers])
        self._standardize = Standardization(rows)
        self._rows = self._standardize(rows)

    def by_words(self, question: str) -> list[int]:
        return ranked_by_words(self.seen, self.numbers, question)

    def by_embedding(self, question: str) -> list[int]:
        """By the cosines of standardized question embeddings."""
        cosines = self._rows @ self._standardize(self._embedding(question))
        return [self.numbers[place] for place in np.argsort(-cosines, kind="stable")]

    def losses(self, exchange: Exchange, known: dict) -> dict[str, float]:
        """Nats per token of a response behind what words find, and behind what both find; `known` is not repeated."""
        words = self.by_words(exchange.question)
        both = fused(words, self.by_embedding(exchange.question))
        prompts = {arm: self._prompt(ranked, exchange) for arm, ranked in (("words", words), ("fused", both))}
        alone = known["words"] if "words" in known else self._loss(prompts["words"], exchange)
        same = prompts["fused"] == prompts["words"]
        return {"words": alone, "fused": alone if same else self._loss(prompts["fused"], exchange)}

    def _embedding(self, question: str) -> np.ndarray:
        return text_embedding(self.model.embed_exchange(question, "").question)

    def _prompt(self, ranked: list[int], exchange: Exchange) -> list[int]:
        return prompt_after(self.seen, ranked, exchange.question, self.model, Settings())

    def _loss(self, prompt: list[int], exchange: Exchange) -> float:
        plain = self.model.encode_exchange(exchange.question, exchange.response, max_tokens=LONGEST)
        reply = plain.labels[plain.labels >= 0].tolist()
        total, tokens = self.model.negative_log_likelihood([labelled_example([*prompt, *reply], start=len(prompt))])
        return total / tokens


def run(model_path: Path, data: Path, threads: int, seconds: float) -> None:
    """Measure what is not measured yet, for about so many seconds."""
    start, cells, commit, known = time.monotonic(), kept_before(), machine()["commit"], measured()
    todo, streams = [each for each in order(cells) if "fused" not in known.get(each, {})], {}
    end_last_line(LINES)
    with (
        BaseModel(model_path, context_tokens=1024, sequences=2, threads=threads) as model,
        Progress("exchanges", len(todo)) as bar,
        open(LINES, "a", encoding="utf-8") as out,
    ):
        for count, (stream, number) in enumerate(todo):
            if time.monotonic() - start > seconds:
                break
            cell = cells[stream]
            if stream not in streams:
                seen, held_out = split_stream(stream, LENGTH, data)
                streams[stream] = Kept(model, seen, cell["kept"]), held_out
            kept, held_out = streams[stream]
            found = {"stream": stream, "number": number, "base": cell["base"][number], "commit": commit}
            found |= {"embeddings": cell["retrieval"][number]}
            found |= kept.losses(held_out[number], known.get((stream, number), {}))
            out.write(json.dumps(found) + "\n")
            out.flush()
            bar(count + 1)


def figures(lines: list[dict]) -> dict:
    """For each data set and over all, and for each of ARMS: its gain over the base and how much more that is than by
    embeddings (95 %), over the exchanges that it was measured on."""
    by_data = defaultdict(list)
    for line in lines:
        for name in (line["stream"].split("/")[0], "all"):
            by_data[name].append(line)
    return {name: {arm: _summary(part, arm) for arm in ARMS} for name, part in sorted(by_data.items())}


def _summary(lines: list[dict], arm: str) -> dict:
    streams = defaultdict(list)
    for line in lines:
        if arm in line:
            streams[line["stream"]].append((line["base"] - line["embeddings"], line["base"] - line[arm]))
    if not streams:
        return {"streams": 0, "exchanges": 0}
    gains = [np.array(rows) for rows in streams.values()]
    before, gain = np.concatenate(gains).mean(axis=0)
    more, low, high = interval([(rows[:, 1] - rows[:, 0])[None] for rows in gains])
    named = {"embeddings": before, "gain": gain, "more": more, "low": low, "high": high}
    counts = {"streams": len(gains), "exchanges": sum(map(len, gains))}
    return {**counts, **{name: round(float(value), 4) for name, value in named.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="stop after the exchange that is measured then")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    run(arguments.model, arguments.data, arguments.threads, 60 * arguments.minutes)
    write_results("retrieval", figures(list(measured().values())))


if __name__ == "__main__":
    main()
