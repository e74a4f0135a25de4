"""What a tap is worth beside a typed answer: 32 typed answers, 16 and 48 taps, or 96 taps of a simulated user.

Run: make bench-taps, or python benchmarks/taps.py [--minutes N] [--data FOLDER]
A tap says which of two replies is better. The base model samples both; the simulated user picks the one nearer to the
real response by ROUGE-L. Taps are learned as the product learns them, with and without the odds-ratio term (setting
preference), and beside them the same replies picked by a coin: what the model's own words alone do. All arms of a
stream begin with the same exchanges and are judged by the same held-out responses. Each is a line in
results/taps_cells.jsonl once it is done: an interrupted run goes on where it stood.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import RESULTS, done_lines, end_last_line, machine, make_layers, write_results
from idletune.dialogue import Exchange
from idletune.model.base_model import BaseModel
from idletune.progress import Progress
from idletune.settings import Settings
from idletune.training.objective import TrainingData
from idletune.training.trainer import Trainer
from rouge_score import rouge_scorer
from selection.cells import LONGEST, Bench, Cell
from selection.gains import interval
from selection.grid import OURS
from selection.streams import BATCH, CACHE, DATA, REPLY_TOKENS, Stream, split_stream
from selection_quality import LENGTH

LINES = RESULTS / "taps_cells.jsonl"
STREAMS = ("ubuntu_irc/irc_04", "persona_chat/", "diasafety_safe/", "dolly/", "ubuntu_irc/irc_09", "persona_chat/+200")
EXCHANGES, PREFERENCE, CHOICE_WEIGHT = 96, 0.25, 0.5


class Arm(NamedTuple):
    typed: int
    taps: int
    preference: float = 0.0
    picks: str = "ROUGE-L"  # or a coin


ARMS = {
    "32 typed": Arm(32, 0),
    "16 typed, 48 taps": Arm(16, 48),
    "96 taps": Arm(0, 96),
    "16 typed": Arm(16, 0),
    "16 typed, 48 taps, preference": Arm(16, 48, PREFERENCE),
    "96 taps, preference": Arm(0, 96, PREFERENCE),
    "96 coins": Arm(0, 96, picks="coin"),
}
MAIN, FIRST = 3, "32 typed"  # arms that are measured on every stream first; what the others are compared with


def replies(name: str, exchanges: list[Exchange], model: BaseModel) -> list[list[str]]:
    """Two sampled replies of the base model to each question; kept in the cache, batch by batch."""
    path = CACHE.parent / "taps" / f"{model.sha256[:12]}-{name.strip('/').replace('/', '-')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    texts: list[str] = json.loads(path.read_text()) if path.is_file() else []
    prompts = [model.encode_prompt([{"role": "user", "content": e.question}]) for e in exchanges for _ in range(2)]
    with Progress(f"{name} replies", len(prompts)) as bar:
        for start in range(len(texts), len(prompts), BATCH):
            part = prompts[start : start + BATCH]
            seeds = list(range(start, start + len(part)))
            found = model.generate(part, max_tokens=REPLY_TOKENS, temperature=0.7, top_p=0.9, seeds=seeds)
            texts += [reply.text for reply in found]
            path.write_text(json.dumps(texts))
            bar(len(texts))
    return [texts[i : i + 2] for i in range(0, len(texts), 2)]


def chosen_first(pairs: list[list[str]], exchanges: list[Exchange], picks: str) -> list[list[str]]:
    """Each pair of replies, the one that the simulated user picks first; of equally near ones the first."""
    scorer, coin = rouge_scorer.RougeScorer(["rougeL"]), np.random.default_rng(0)
    if picks == "coin":
        return [pair[:: 1 if coin.random() < 0.5 else -1] for pair in pairs]

    def near(text: str, exchange: Exchange) -> float:
        return scorer.score(exchange.response, text)["rougeL"].fmeasure

    return [sorted(pair, key=lambda text: -near(text, exchange)) for pair, exchange in zip(pairs, exchanges)]


def training_data(arm: Arm, exchanges: list[Exchange], pairs: list[list[str]], bench: Bench) -> TrainingData:
    """Typed answers to the first exchanges, taps on the next ones, as the product trains on them."""

    def encode(exchange: Exchange, response: str, asked: bool):
        return bench.model.encode_exchange(exchange.question, response, max_tokens=LONGEST, train_on_question=asked)

    typed, tapped = exchanges[: arm.typed], range(arm.typed, arm.typed + arm.taps)
    picked = chosen_first(pairs, exchanges, arm.picks)
    examples = [encode(e, e.response, True) for e in typed] + [encode(exchanges[i], picked[i][0], True) for i in tapped]
    weights = {i: CHOICE_WEIGHT for i in tapped}
    return TrainingData(examples, weights, {i: encode(exchanges[i], picked[i][1], False) for i in tapped})


def losses(arm: Arm, stream: Stream, pairs: list[list[str]], bench: Bench) -> dict:
    """Held-out losses in nats per token after training, and what the training took."""
    settings = replace(Settings(), sequence_tokens=LONGEST, preference=arm.preference)
    base = bench.base(stream)
    lora = bench.layers.lora.initialize(settings.seed)
    data = training_data(arm, stream.seen, pairs, bench)
    examples, objective = data.within(settings.sequence_tokens, settings.preference)
    trainer = Trainer(bench.layers, examples, settings, objective=objective)
    outcome = trainer.run()
    found = {"base": base["losses"], "adapted": bench.losses(base["measured"])}
    lora.flat[...] = 0
    return {**found, "rows": len(trainer.sequences), "pairs": len(objective.rejected), "tokens": outcome.tokens}


def todo() -> Iterator[tuple[str, str]]:
    """Streams and arms that are not done, the first arms of all streams first."""
    done, arms = {(line["stream"], line["arm"]) for line in done_lines(LINES)}, list(ARMS)
    for some in (arms[:MAIN], arms[MAIN:]):
        yield from ((stream, arm) for stream in STREAMS for arm in some if (stream, arm) not in done)


def run(model_path: Path, data: Path, threads: int, seconds: float) -> None:
    """Measure what is not measured yet, for about so many seconds."""
    start, commit, left = time.monotonic(), machine()["commit"], list(todo())
    end_last_line(LINES)
    with (
        BaseModel(model_path, context_tokens=1024, sequences=8, threads=threads) as model,
        Progress("arms", len(left)) as bar,
        open(LINES, "a", encoding="utf-8") as out,
    ):
        text = (files("idletune") / "data" / "general_probe.txt").read_text(encoding="utf-8").split("\n\n")[0]
        probe = [model.encode_text(text, max_tokens=96)]
        bench = Bench(model, lambda s: make_layers(model_path, LONGEST, 1500, threads, s)[0], probe)
        for count, (name, arm) in enumerate(left):
            if time.monotonic() - start > seconds:
                break
            bench.use(Cell(name, OURS, EXCHANGES, 0, 0))
            seen, held_out = split_stream(name, LENGTH, data)
            order = np.random.default_rng(0).permutation(len(seen))[:EXCHANGES]
            stream = Stream(name, [seen[i] for i in order], held_out, [], [], np.zeros((0, model.hidden)))
            found = losses(ARMS[arm], stream, replies(name, stream.seen, model), bench)
            out.write(json.dumps({"stream": name, "arm": arm, "commit": commit, **found}) + "\n")
            out.flush()
            bar(count + 1)


def figures(lines: list[dict]) -> dict:
    """For each arm: its gain over the base, and how much more it gains than FIRST on the streams that have both."""
    by_arm: dict[str, dict[str, dict]] = defaultdict(dict)
    for line in lines:
        by_arm[line["arm"]][line["stream"]] = line
    return {arm: _summary(streams, by_arm[FIRST]) for arm, streams in by_arm.items()}


def _summary(streams: dict[str, dict], first: dict[str, dict]) -> dict:
    shared = [(line, first[name]) for name, line in streams.items() if name in first]
    gains = np.concatenate([np.subtract(line["base"], line["adapted"]) for line, _ in shared])
    more, low, high = interval([np.subtract(other["adapted"], line["adapted"])[None] for line, other in shared])
    named = {"gain": gains.mean(), "more": more, "low": low, "high": high}
    data_sets = len({line["stream"].split("/")[0] for line, _ in shared})
    counts = {"streams": len(shared), "data_sets": data_sets, "exchanges": len(gains)}
    return {**counts, **{name: round(float(value), 4) for name, value in named.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="stop after the arm that is measured then")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    run(arguments.model, arguments.data, arguments.threads, 60 * arguments.minutes)
    write_results("taps", figures(done_lines(LINES)))


if __name__ == "__main__":
    main()
