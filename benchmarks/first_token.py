"""How long retrieval makes a user wait for the first token.

Run: make bench-first-token, or python benchmarks/first_token.py [--messages N]
Beside a buffer full of answers, each message of the demo stream is sent without and with retrieval, in turn: as the
first of a conversation, and as a later one whose few-shot turns stay. Retrieval takes two things: finding the sets, and
reading their tokens where they are new. Finding is timed alone, beside what took its place up to version 0.2: a second
reading of the message, for its embedding. Times are the processor's, with one thread: other work beside it changes
them little.
"""

import argparse
import os
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from statistics import median

import numpy as np
from common import write_results
from idletune.chat_files import read_exchanges
from idletune.conversation import Conversation
from idletune.dialogue import DialogueSet, Exchange, Scores
from idletune.progress import Progress
from idletune.runtime import Runtime
from idletune.settings import Settings

ASKED = 5  # every so many exchanges one is asked, the others are answers in the buffer


def fill(runtime: Runtime, exchanges: list[Exchange]) -> None:
    """Answered sets; their embeddings play no part in retrieval."""
    embedding = np.full(runtime.model.hidden, runtime.model.hidden**-0.5, np.float32)
    for each in exchanges:
        answered = DialogueSet(each.question, "", "other", embedding, Scores(0, 0, 0), response=each.response)
        runtime.buffer.admit(answered)


def first_token(runtime: Runtime, message: str, retrieve: int) -> float:
    """CPU seconds until the first text; the reply is stopped there, so that the conversation stays as it was."""
    runtime.change_settings({"retrieve": retrieve})
    runtime.retrieved(message, Conversation())  # changed settings drop the index
    heard: list[float] = []
    start = time.process_time()
    runtime.chat(message, lambda text: heard.append(time.process_time() - start), lambda: bool(heard))
    return heard[0]


def timed(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measure_message(runtime: Runtime, message: str, retrieve: int) -> dict[str, float]:
    """Seconds of everything about one message, each side behind a conversation of its own."""
    found = {}
    for side, count in (("without", 0), ("with", retrieve)):
        runtime.new_conversation()
        runtime.model.clear()
        found[f"first_{side}"] = first_token(runtime, message, count)
        runtime.chat(message)
        found[f"later_{side}"] = first_token(runtime, message, count)
    found["finding"] = timed(lambda: runtime.retrieved(message))
    found["embedding"] = timed(lambda: runtime.model.embed_exchange(message, ""))
    return found


def measure(model: Path, messages: int) -> dict:
    exchanges = list(read_exchanges(files("idletune") / "data" / "demo_stream.jsonl"))
    asked = exchanges[::ASKED][:messages]
    answers = [each for number, each in enumerate(exchanges) if number % ASKED]
    settings, rows = Settings(reply_tokens=8, recall=False, threads=1), []  # each message is sent several times
    with tempfile.TemporaryDirectory() as home, Runtime(Path(home), model, settings, sequences=2) as runtime:
        fill(runtime, answers)
        with Progress("messages", len(asked)) as bar:
            for number, each in enumerate(asked, start=1):
                rows.append(measure_message(runtime, each.question, Settings().retrieve))
                bar(number)
    seconds = {name: [row[name] for row in rows] for name in rows[0]}
    ratios = {
        "first": [row["first_with"] / row["first_without"] for row in rows],
        "later": [row["later_with"] / row["later_without"] for row in rows],
        "finding": [1 + row["finding"] / row["first_without"] for row in rows],
        "embedding": [1 + row["embedding"] / row["first_without"] for row in rows],
    }
    return {
        "answers": len(answers),
        "messages": len(rows),
        "ms": {name: round(1e3 * median(each), 2) for name, each in seconds.items()},
        "times_as_long": {name: round(median(each), 3) for name, each in ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=10)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    found = measure(arguments.model, arguments.messages)
    write_results("first_token", found)
    print(found)


if __name__ == "__main__":
    main()
