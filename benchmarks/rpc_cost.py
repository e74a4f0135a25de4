"""What the dispatcher costs, and how long it keeps the user waiting.

Run: make bench-rpc, or python benchmarks/rpc_cost.py [--waits N] [--chats N]
- a call: `version` and `prompts`, bytes in and bytes out, in microseconds;
- a streamed chat beside the same chat by the Python API, turn and turn about: tokens a second;
- the wait for the model while a slice of learning runs, asked for at random moments of all stages.
"""

import argparse
import json
import os
import random
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from common import write_results
from idletune.rpc import Dispatcher

SETTINGS = {
    "quiet_from": 0,
    "quiet_until": 0,
    "daily_limit": 100,
    "state_source": "host",
    "window_from": 0,
    "window_until": 0,
    "window_reserve_mb": 0,
    "window_disk_mb": 0,
    "slice_rest_minutes": 0,
    "slices_a_day": 100_000,
    "paraphrases": 1,
    "epochs": 20,
    "reply_tokens": 64,
}
CHARGING = {"plugged": True, "percentage": 90, "temperature_c": 25}
CALLS = 2000
BETTER = "Right then, toast half of them."


class Host:
    """Calls as a host app makes them."""

    def __init__(self):
        self.dispatcher = Dispatcher()

    def call(self, method: str, **params) -> dict:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        response = json.loads(self.dispatcher.handle(json.dumps(request).encode()))
        if "error" in response:
            raise SystemExit(f"{method}: {response['error']['message']}")
        return response["result"]


def microseconds_a_call(host: Host, method: str) -> float:
    request, times = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode(), []
    for _ in range(CALLS):
        start = time.perf_counter()
        host.dispatcher.handle(request)
        times.append(time.perf_counter() - start)
    return round(1e6 * median(times), 1)


def chat_speeds(host: Host, chats: int) -> dict:
    """Tokens a second of a reply, on one thread: by the dispatcher with a reader of its events, by the runtime."""
    runtime, over = host.dispatcher.shared.opened(), threading.Event()
    reader = threading.Thread(target=lambda: [host.dispatcher.next_event(0.1) for _ in iter(over.is_set, True)])
    reader.start()
    speeds = {"rpc": [], "python": []}
    for number in range(chats):
        question = f"Tell me about the number {number} in three sentences."
        for way in ("rpc", "python") if number % 2 else ("python", "rpc"):
            runtime.new_conversation()
            start = time.perf_counter()
            if way == "rpc":
                tokens = host.call("chat", text=question, stream=True)["tokens"]
            else:
                reply = host.dispatcher.shared.compute(lambda: runtime.chat(question, on_text=lambda text: None))
                tokens = len(reply.tokens)
            speeds[way].append(tokens / (time.perf_counter() - start))
    over.set()
    reader.join()
    return {way: round(median(found), 1) for way, found in speeds.items()}


def seconds_waited(host: Host, waits: int) -> list[float]:
    """Until the model is free, while a slice runs."""
    for number in range(10):
        host.call("observe", question=f"What do I do with {number} old loaves?", response="Eat them with butter.")
    while due := host.call("prompts")["prompts"]:
        host.call("answer", prompt_id=due[0]["id"], shown=due[0]["shown"], verdict="edit", text=BETTER)
    rng, found = random.Random(0), []
    while len(found) < waits:
        host.call("device_state", state=CHARGING)
        slice = threading.Thread(target=host.call, args=("tick",))
        slice.start()
        time.sleep(rng.uniform(0.5, 10))
        if slice.is_alive():
            start = time.perf_counter()
            with host.dispatcher.shared.model():
                found.append(time.perf_counter() - start)
        slice.join()
    return found


def measure(model: Path, waits: int, chats: int) -> dict:
    host = Host()
    with tempfile.TemporaryDirectory() as home:
        host.call("open", model=str(model), home=home, settings=SETTINGS)
        calls = {name: microseconds_a_call(host, name) for name in ("version", "prompts")}
        speeds, found = chat_speeds(host, chats), seconds_waited(host, waits)
        host.dispatcher.close()
    return {
        "call_us": calls,
        "chat_tokens_a_second": speeds,
        "streamed_share": round(speeds["rpc"] / speeds["python"], 3),
        "waits": waits,
        "wait_s": {"median": round(median(found), 2), "longest": round(max(found), 2)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--waits", type=int, default=20)
    parser.add_argument("--chats", type=int, default=20)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    found = measure(arguments.model, arguments.waits, arguments.chats)
    write_results("rpc_cost", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
