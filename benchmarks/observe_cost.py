"""What selection costs beside the reply it looks at.

Run: make bench-observe, or python benchmarks/observe_cost.py [--replies N]
For each question of the demo stream: the time to generate the reply (embeddings taken on the way), then
the time to score the exchange and place it in a full buffer. The ratio is of the sums over one run.
"""

import argparse
import os
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from statistics import median

from common import write_results
from idletune.chat_files import read_exchanges
from idletune.model.chat_template import conversation
from idletune.runtime import Runtime
from idletune.settings import Settings


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def measure(model: Path, replies: int) -> dict:
    exchanges = read_exchanges(files("idletune") / "data" / "demo_stream.jsonl")[:replies]
    settings = Settings(buffer_capacity=max(1, replies // 3))  # full after a third, so that replacement is measured too
    generating, observing, tokens = [], [], 0
    with tempfile.TemporaryDirectory() as home, Runtime(Path(home), model, settings, sequences=1) as runtime:
        for number, exchange in enumerate(exchanges):

            def chat(number=number, exchange=exchange):
                return runtime.model.chat(
                    conversation(exchange.question), max_tokens=64, temperature=0.7, top_p=0.9, seed=number
                )

            reply, seconds = timed(chat)
            generating.append(seconds)
            tokens += len(reply.tokens)
            observing.append(timed(runtime.observe, exchange.question, reply)[1])
    return {
        "replies": len(generating),
        "reply_tokens": tokens,
        "reply_ms": round(1e3 * median(generating), 1),
        "observe_ms": round(1e3 * median(observing), 2),
        "observe_share": round(sum(observing) / sum(generating), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replies", type=int, default=60)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    found = measure(arguments.model, arguments.replies)
    write_results("observe_cost", found)
    print(f"reply {found['reply_ms']} ms, observing it {found['observe_ms']} ms: {found['observe_share']:.2%} of it")


if __name__ == "__main__":
    main()
