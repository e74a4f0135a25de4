"""30,000 malformed HTTP requests: none may be answered with a 5xx or leave a traceback, and memory stays flat.

Run: make fuzz-http, or python benchmarks/http_malformed.py [--count N]
The server runs in a process of its own, on a tiny model. Its memory is read after each tenth.
"""

import argparse
import json
import random
import socket
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import write_results
from http_server import HttpServer, http_server

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from malformed import malformed_requests  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402

CLIENTS = 8
SECONDS = 0.25  # for an answer; of some requests the server waits for the rest


def status_of(server: HttpServer, data: bytes) -> int:
    """The status of the answer; 0 where there was none in time."""
    with socket.create_connection((server.address, server.port), timeout=SECONDS) as connection:
        head = b""
        try:
            connection.sendall(data)
            while b"\r\n" not in head and (part := connection.recv(4096)):
                head += part
        except OSError:
            pass
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0


def measure(count: int, seed: int) -> dict:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(CLIENTS) as clients:
        model = write_tiny_model(Path(folder) / "tiny.gguf")
        with http_server(Path(folder) / "home", model, reply_tokens=4) as server:
            server.wait_until_open()
            requests = list(malformed_requests(random.Random(seed), server.token, server.port, count))
            statuses, memory = Counter[int](), list[float]()
            for start in range(0, count, count // 10):
                part = requests[start : start + count // 10]
                statuses += Counter(clients.map(lambda data: status_of(server, data), part))
                memory.append(round(server.resident_mb(), 1))
            server.wait_until_open()  # it still answers
            errors = server.close()
    return {
        "requests": count,
        "statuses": {str(status): statuses[status] for status in sorted(statuses)},
        "server_errors": sum(number for status, number in statuses.items() if status >= 500),
        "tracebacks": errors.count("Traceback"),
        "memory_mb": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = measure(arguments.count, arguments.seed)
    write_results("http_malformed", found)
    print(json.dumps(found, indent=1))
    if found["server_errors"] or found["tracebacks"]:
        raise SystemExit("the server is at fault for what its clients send")


if __name__ == "__main__":
    main()
