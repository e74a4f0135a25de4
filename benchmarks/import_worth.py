"""What an imported past is worth: 32 typed answers alone, and with the past that was imported as answers.

Run: make bench-import, or python benchmarks/import_worth.py [--data FOLDER]
Of a stream's first 200 exchanges the first 100 are the past, exported from elsewhere; the next 60 are lived on the
phone, where the policy keeps 32 that the user answers; the last 40 are held out. The imported past goes past the same
policy into the share of a 128-set buffer that imports may take. Both sides train as the product does, on as many rows
as their answers fill. The typed answers are the same on both sides, so the difference is paired.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from common import RESULTS, make_layers, write_results
from idletune.chat_files import read_exchanges
from idletune.dialogue import Exchange
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from idletune.settings import Settings
from selection.cells import LONGEST, Bench, Cell, select
from selection.streams import BATCH, DATA, HELD_OUT_SHARE, REPLY_TOKENS, Stream

LENGTH, PAST, TYPED = 200, 100, 32
# Four first, of users and of two other data sets; the rest have long answers, and take four times as long.
STREAMS = ("ubuntu_irc/irc_04", "persona_chat/", "diasafety_safe/", "ubuntu_irc/irc_01", "dolly/", "medquad/")
CAPACITY, SHARE = Settings().buffer_capacity, 0.75
IMPORTED = int(SHARE * CAPACITY)


@dataclass
class Life:
    """One stream: exchanges of the past and of the phone (`seen`, the past first), and those held out."""

    name: str
    seen: list[Exchange]
    held_out: list[Exchange]


def load(name: str, data: Path) -> Life:
    dataset, user = name.split("/")
    exchanges = read_exchanges(data / f"{dataset}.jsonl", user or None, LENGTH)
    held = len(exchanges) // HELD_OUT_SHARE
    return Life(name, exchanges[:-held], exchanges[-held:])


def typed_of(life: Life, model: BaseModel) -> list[int]:
    """Numbers of the exchanges on the phone that the policy keeps, by the model's own replies, as there."""
    lived, replies = life.seen[PAST:], []
    for start in range(0, len(lived), BATCH):
        some = lived[start : start + BATCH]
        replies += model.generate(
            [model.encode_prompt([{"role": "user", "content": e.question}]) for e in some],
            max_tokens=REPLY_TOKENS,
            temperature=0.7,
            top_p=0.9,
            seeds=list(range(PAST + start, PAST + start + len(some))),
            questions=[e.question for e in some],
        )
    texts, embeddings = [reply.text for reply in replies], [reply.embeddings for reply in replies]
    return kept(Stream(life.name, lived, [], texts, embeddings, no_questions(model)), TYPED, PAST)


def imported_of(life: Life, model: BaseModel) -> list[int]:
    """Those of the past that the policy keeps: their responses stand where the model's replies would."""
    past = life.seen[:PAST]
    texts, embeddings = [e.response for e in past], [model.embed_exchange(e.question, e.response) for e in past]
    return kept(Stream(life.name, past, [], texts, embeddings, no_questions(model)), IMPORTED, 0)


def no_questions(model: BaseModel) -> np.ndarray:
    return np.zeros((0, model.hidden), np.float32)


def kept(stream: Stream, bins: int, start: int) -> list[int]:
    """Numbers, in the whole stream, of the exchanges that the product's policy keeps of a part that begins there."""
    return [start + number for number in select(Cell(stream.name, Settings().policy, bins, 0, 0), stream)[0]]


def measure(bench: Bench, stream: Stream, answered: list[int]) -> dict:
    """Train on these answers as the product does; held-out losses of the adapter alone in nats per token."""
    start, cell = time.monotonic(), Cell(stream.name, Settings().policy, len(answered), 0, 0)
    bench.use(cell)
    base = bench.base(stream)
    bench.layers.lora.initialize(cell.seed)
    pairs = [(stream.seen[i].question, stream.seen[i].response) for i in answered]
    rows = max(cell.settings.min_steps, round(cell.settings.epochs * bench.rows_of_a_pass(stream, len(answered))))
    trained = bench.train(cell, rows, pairs, [])
    found = {"answers": len(answered), "base": base["losses"], "adapted": bench.losses(base["measured"])}
    bench.layers.lora.flat[...] = 0
    return {**found, "rows": trained["rows"], "seconds": round(time.monotonic() - start, 1)}


def compare(bench: Bench, model: BaseModel, life: Life) -> dict:
    """Both sides of one stream."""
    typed, imported = typed_of(life, model), imported_of(life, model)
    stream = Stream(life.name, life.seen, life.held_out, [], [], no_questions(model))
    return {
        "stream": life.name,
        "typed": measure(bench, stream, typed),
        "with_past": measure(bench, stream, sorted(imported + typed)),
    }


def summary(found: list[dict]) -> dict:
    """Mean difference of the streams' mean losses, with the past minus without, and 1.96 standard errors."""
    gains = [float(np.mean(s["with_past"]["adapted"]) - np.mean(s["typed"]["adapted"])) for s in found]
    error = 1.96 * np.std(gains, ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return {"difference": float(np.mean(gains)), "error": float(error), "better": sum(gain < 0 for gain in gains)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    parser.add_argument("--streams", nargs="*", default=STREAMS)
    arguments = parser.parse_args()
    found = done()
    todo = [name for name in arguments.streams if name not in {stream["stream"] for stream in found}]
    with BaseModel(arguments.model, context_tokens=1024, sequences=8, threads=1) as model:
        text = (files("idletune") / "data" / "general_probe.txt").read_text(encoding="utf-8")
        probe = [model.encode_text(part, max_tokens=96) for part in text.split("\n\n") if part.strip()]
        bench = Bench(model, lambda s: make_layers(arguments.model, LONGEST, 1500, 1, s)[0], probe)
        with Progress("streams", len(todo)) as bar:
            for number, name in enumerate(todo):
                bar(number, name)
                found.append(compare(bench, model, load(name, arguments.data)))
                write_results("import_worth", {"streams": found, "summary": summary(found)})
                print(name, flush=True)


def done() -> list[dict]:
    """The streams that were measured before: an interrupted run goes on there."""
    path = RESULTS / "import_worth.json"
    return json.loads(path.read_text(encoding="utf-8"))["streams"] if path.is_file() else []


if __name__ == "__main__":
    main()
