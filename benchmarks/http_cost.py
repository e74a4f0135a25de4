"""What HTTP costs: a streamed token beside the same token in the process, and how soon the page is there.

Run: make bench-http, or python benchmarks/http_cost.py [--chats N] [--starts N]
- Speeds: a server in a process of its own, a client here that reads its stream, and the same message to a runtime here,
  turn and turn about: with one thread, and with all cores as it comes. Tokens a second from the first piece of a reply
  to its last; medians, and the median of the quotients of neighbours.
- Starts: from the start of `idletune web` to the first byte of the page, and to the first answer of the model.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from common import write_results
from http_server import HttpServer, http_server
from idletune.runtime import Runtime
from idletune.settings import Settings

TOKENS = 128
THREADS = {"one thread": 1, "as it comes": 0}
SETTINGS = {"temperature": 0.0, "reply_tokens": TOKENS, "quiet_from": 0, "quiet_until": 0}


class Watch:
    """When the pieces of a reply came."""

    def __init__(self) -> None:
        self.started, self.pieces = time.perf_counter(), list[float]()

    def piece(self, text: str = "") -> None:
        self.pieces.append(time.perf_counter())

    def speeds(self, tokens: int) -> tuple[float, float]:
        """Tokens a second after the first piece, and with the prompt."""
        return (tokens - 1) / (self.pieces[-1] - self.pieces[0]), tokens / (self.pieces[-1] - self.started)


def by_http(server: HttpServer, question: str) -> tuple[float, float]:
    watch, tokens = Watch(), 0
    messages, options = [{"role": "user", "content": question}], {"include_usage": True}
    answer = server.request(
        server.connect(), "/v1/chat/completions", {"messages": messages, "stream": True, "stream_options": options}
    )
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
            watch.piece()
        elif "usage" in chunk:
            tokens = chunk["usage"]["completion_tokens"]
    return watch.speeds(tokens)


def in_process(runtime: Runtime, question: str) -> tuple[float, float]:
    runtime.new_conversation()
    watch = Watch()
    return watch.speeds(len(runtime.chat(question, on_text=watch.piece).tokens))


def compare_speeds(folder: Path, model: Path, threads: int, chats: int) -> dict:
    found: dict[str, list] = {"http": [], "process": []}
    with (
        http_server(folder / "served", model, threads=threads, **SETTINGS) as server,
        Runtime(folder / "here", model, Settings(threads=threads, **SETTINGS)) as runtime,
    ):
        server.wait_until_open()
        for number in range(-2, chats):  # two to warm up
            question = f"Tell me about the number {number + 100} in many sentences."
            for way in ("http", "process") if number % 2 else ("process", "http"):
                speeds = by_http(server, question) if way == "http" else in_process(runtime, question)
                if number >= 0:
                    found[way].append(speeds)
    return {
        "tokens_a_second": {way: round(median(after for after, _ in speeds), 1) for way, speeds in found.items()},
        "share": round(median(h[0] / p[0] for h, p in zip(found["http"], found["process"])), 3),
        "share_with_prompt": round(median(h[1] / p[1] for h, p in zip(found["http"], found["process"])), 3),
    }


def start(folder: Path, model: Path) -> tuple[float, float]:
    """Seconds until the page's first byte, and until the model answers."""
    with http_server(folder, model, **SETTINGS) as server:
        connection = server.connect()
        connection.request("GET", "/")
        connection.getresponse().read(1)
        page = time.perf_counter() - server.started
        server.wait_until_open()
        return page, time.perf_counter() - server.started


def measure(model: Path, chats: int, starts: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        speeds = {name: compare_speeds(Path(folder), model, threads, chats) for name, threads in THREADS.items()}
        times = [start(Path(folder) / "served", model) for _ in range(starts)]
    seconds = {"page": round(median(page for page, _ in times), 2), "model": round(median(m for _, m in times), 2)}
    return {"speeds": speeds, "chats": chats, "tokens": TOKENS, "start_s": seconds, "starts": starts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chats", type=int, default=40)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    found = measure(arguments.model, arguments.chats, arguments.starts)
    write_results("http_cost", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
