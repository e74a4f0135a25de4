"""Opening the page in a real browser: milliseconds until one can write a message, and bytes over the wire.

make bench-page. The server runs on this machine, so the time is the page's own: fetching, scripts, drawing, and reading
the state. First openings are in a new browser profile that holds the cookie alone, later ones find the files cached.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from common import write_results

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import WebProcess, chromium, new_page  # noqa: E402

OPENINGS = 20


def main() -> None:
    model = Path(os.environ.get("IDLETUNE_MODEL", ".cache/models/smollm2-135m-instruct-q4_1.gguf")).absolute()
    with tempfile.TemporaryDirectory(prefix="idletune-") as folder, chromium() as browser:
        server = WebProcess(Path(folder) / "home", model)
        try:
            results = measure(browser, server)
        finally:
            server.close()
    print(results)
    write_results("page", results)


def measure(browser, server: WebProcess) -> dict:
    page = new_page(browser)
    opening(page, server.link)  # and the model is loaded
    profile = page.context.storage_state()
    page.context.close()
    first, later = [], []
    for _ in range(OPENINGS):
        page = new_page(browser, storage_state=profile)
        first.append(opening(page, server.url))
        later.append(opening(page, server.url))
        page.context.close()
    return {"openings": OPENINGS, "first": summary(first), "later": summary(later)}


def opening(page, address: str) -> tuple[float, int]:
    """Milliseconds until the message box is there, and the bytes of all responses until then, headers included."""
    done = []
    page.on("requestfinished", lambda request: done.append(request))
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.get_by_role("textbox", name="Message").wait_for()
    ms = 1000 * (time.perf_counter() - start)
    sizes = [request.sizes() for request in done]  # an earlier opening's listener has a list of its own
    return ms, sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)


def summary(found: list[tuple[float, int]]) -> dict:
    times = sorted(ms for ms, _ in found)
    slowest = times[-1 - len(times) // 20]
    return {
        "median_ms": round(statistics.median(times)),
        "p95_ms": round(slowest),
        "bytes": max(size for _, size in found),
    }


if __name__ == "__main__":
    main()
