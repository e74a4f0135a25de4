"""A real browser on the page that `idletune web` serves in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from rpc_caller import CHANGED

SECONDS = 120.0  # for whatever the page is waited for
PHONE = {"width": 360, "height": 740}
NOTICES = """window.noticed = [];
let before = "";
new MutationObserver(() => {
    const told = document.querySelector(".notice")?.textContent ?? "";
    if (told && told !== before) window.noticed.push(told);
    before = told;
}).observe(document, {subtree: true, childList: true, characterData: true});"""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class WebProcess:
    """`idletune web` on a model; `link` opens the page once."""

    def __init__(self, home: Path, model: Path, settings: dict | None = None):
        home.mkdir(mode=0o700, exist_ok=True)
        if settings is not None:
            (home / "settings.json").write_text(json.dumps(settings))
        self.home, self.model = home, model
        self.port = 0  # the system chooses one, and it is the same at every further start
        self.errors = open(home.parent / f"{home.name}.errors", "ab")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "idletune.commands.cli", "web", "--no-open", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--home", str(self.home), "--model", str(self.model)],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        line = self.process.stdout.readline()
        assert "http://" in line, self.said()
        self.link = line.split()[-1]
        self.url = self.link.partition("/open")[0]
        self.port = int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(4 * SECONDS)  # it may be loading a model
        self.process.stdout.close()

    def said(self) -> str:
        """What it wrote to standard error, in all its starts."""
        return Path(self.errors.name).read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.stop()
        self.errors.close()


@contextmanager
def chromium():
    """A headless browser; the test is skipped, aloud, where none is installed."""
    if CHROMIUM is None:
        pytest.skip("no chromium is installed (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser, size: dict = PHONE, **options):
    """A page in a browser profile of its own, as on a phone. What its scripts complain of is in `page.complaints`.

    The notices that it shows, each for a few seconds, are in its variable `noticed`.
    """
    context = browser.new_context(viewport=size, **options)
    context.set_default_timeout(SECONDS * 1000)
    context.add_init_script(NOTICES)
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda said: said.type == "error" and page.complaints.append(said.text))
    return page


def home_that_learns(home: Path, model: Path, answers: int, text: str = "aaaa aaaa aaaa", **settings) -> dict:
    """A home for the tiny model with so many answered exchanges; returns its settings."""
    from idletune.runtime import Runtime
    from idletune.settings import Settings
    from loop import answer_all, observe

    home.mkdir(mode=0o700, exist_ok=True)
    chosen = {**CHANGED, "seed": 3, "state_source": "sysfs", **settings}
    with Runtime(home, model, Settings(**chosen), sequences=2) as runtime:
        observe(runtime, answers)
        answer_all(runtime, text)
    return chosen


def home_that_offers_two(home: Path, model: Path) -> dict:
    """A home in which one question waits, with a second reply beside the first; returns its settings."""
    from idletune.runtime import Runtime
    from idletune.settings import Settings
    from loop import observe

    home.mkdir(mode=0o700, exist_ok=True)
    chosen = {**CHANGED, "seed": 3, "state_source": "sysfs", "ask_choices": 1.0, "temperature": 2.0}
    with Runtime(home, model, Settings(**chosen), sequences=2) as runtime:
        observe(runtime, 1)
        runtime.learn_slice(lambda: False)
        assert runtime.queue.pending()[0].second
    return chosen
