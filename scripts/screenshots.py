"""The pictures of the page in docs/page: a home that learned from a part of the demo's story, in a real browser.

`make screenshots` runs it on the demo's model. It chats, so words differ where another llama.cpp or processor answers.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import PHONE, WebProcess, chromium, new_page  # noqa: E402
from idletune.chat_files.formats import read_exchanges  # noqa: E402
from idletune.clock import DAY  # noqa: E402
from idletune.dialogue import Exchange  # noqa: E402
from idletune.runtime import Runtime  # noqa: E402
from idletune.settings import Settings  # noqa: E402
from idletune.state.origins import WEB_PAGE  # noqa: E402

PICTURES = ROOT / "docs" / "page"
SIZES = {"360": PHONE, "1280": {"width": 1280, "height": 800}}
STORY = ROOT / "device" / "idletune" / "data" / "demo_stream.jsonl"
ANSWERED = (10, 12)  # answers of each of two nights
OPEN = 6  # exchanges that wait for an answer
REPLY_TOKENS = 40
PATIENCE_MS = 300_000  # for a model on a busy machine
# Two days of questions in one, at any hour; one thread, so that a second run on the same machine gives the same.
SETTINGS = {
    "window_from": 0,
    "window_until": 0,
    "quiet_from": 0,
    "quiet_until": 0,
    "daily_limit": 40,
    "reply_tokens": 48,
    "threads": 1,
}
QUESTION = "Need bread by six tonight, no starter, fastest option?"


def main() -> None:
    model = Path(os.environ.get("IDLETUNE_MODEL", ".cache/models/smollm2-135m-instruct-q4_1.gguf")).absolute()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="idletune-") as folder:
        home = Path(folder) / "idletune"
        live(home, model)
        with chromium() as browser:
            for size, viewport in SIZES.items():
                copy = Path(folder) / f"home-{size}"
                shutil.copytree(home, copy)
                server = WebProcess(copy, model, SETTINGS)
                try:
                    take(browser, server, size, viewport)
                finally:
                    server.close()


def live(home: Path, model: Path) -> None:
    """Two nights of learning from what was answered by day, and some questions that wait."""
    exchanges, now = iter(read_exchanges(STORY)), 1_795_500_000.0
    with Runtime(home, model, Settings(**SETTINGS), clock=lambda: now) as runtime:
        for count in ANSWERED:
            observe(runtime, exchanges, count, answered=True)
            print(f"learned: {runtime.learn().verdict}", flush=True)
            now += DAY
        observe(runtime, exchanges, OPEN, answered=False)


def observe(runtime: Runtime, exchanges: Iterator[Exchange], count: int, answered: bool) -> None:
    some = [next(exchanges) for _ in range(count)]
    prompts = [runtime.model.encode_prompt([{"role": "user", "content": each.question}]) for each in some]
    replies = runtime.model.generate(
        prompts,
        max_tokens=REPLY_TOKENS,
        temperature=0.7,
        top_p=0.9,
        seeds=list(range(count)),
        questions=[each.question for each in some],
    )
    for each, reply in zip(some, replies):
        kept = runtime.observe(each.question, reply, origin=WEB_PAGE).admission.id
        if answered and kept is not None and (due := runtime.next_prompt(lambda id: id == kept)):
            runtime.queue.edit(due.id, each.response, WEB_PAGE)


def take(browser, server: WebProcess, size: str, viewport: dict) -> None:
    page = new_page(browser, viewport, device_scale_factor=1.5 if size == "360" else 1)
    page.context.set_default_timeout(PATIENCE_MS)
    page.goto(server.link)
    page.get_by_role("textbox", name="Message").fill(QUESTION)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("heading", name="With what it learned").wait_for()
    picture(page, f"compare-{size}")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Good").first.click()
    page.get_by_role("region", name="A question to you").wait_for()
    picture(page, f"chat-{size}")
    for name in ("Kept", "Learning", "Settings"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        picture(page, f"{name.lower()}-{size}")
    page.context.close()


def picture(page, name: str) -> None:
    page.wait_for_timeout(700)  # what the page still reads from the server, and notices
    page.screenshot(path=PICTURES / f"{name}.png")
    print(PICTURES / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
