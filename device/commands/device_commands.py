"""The commands that run on the device by themselves: slices of learning, and questions as notifications.

They open the database alone; the base model is loaded when a window is open and there is something to learn.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM

from ..errors import UsageError
from ..progress import Progress
from ..runtime import Runtime
from ..schedule import termux
from ..schedule.scheduler import Scheduler, watch
from ..schedule.state_sources import make_source
from ..settings import Settings
from ..state.annotation import AnnotationQueue
from ..state.store import Store, open_store
from .interrupts import interruptible

WATCH_SECONDS = 60.0


def tick(home: Path, model: Path, settings: Settings, backend: str) -> None:
    """One look, and a slice if the window is open."""
    with _scheduler(home, settings) as scheduler:
        print(scheduler.tick(_learner(home, model, settings, backend)))


def watch_device(home: Path, model: Path, settings: Settings, backend: str) -> None:
    """Look every minute until it is interrupted."""
    with _scheduler(home, settings) as scheduler:
        def sleep(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end and not scheduler.interrupted():
                time.sleep(0.2)

        learn = _learner(home, model, settings, backend)
        watch(scheduler, learn, sleep, WATCH_SECONDS, lambda line: print(line, flush=True))


def ask(home: Path, settings: Settings, notify: bool) -> None:
    """The question to put to the user now: printed, or put up as a notification."""
    with open_store(home, settings) as store:
        prompt = _queue(store, settings).next()
        if prompt is None:
            if notify:  # what was shown may be answered or forgotten by now
                termux.take_down(home)
            print("no question now")
        elif notify:
            termux.show(prompt, home)
            print(f"question {prompt.id} is shown")
        else:
            print(f"{prompt.id}: about {prompt.question!r} it said {prompt.reply!r}")


def answer(home: Path, settings: Settings, verdict: str, prompt_id: int, notify: bool) -> None:
    """Take an answer; a better one is read from standard input. What goes wrong is shown where it was given."""
    with open_store(home, settings) as store:
        queue = _queue(store, settings)
        try:
            _take(queue, verdict, prompt_id, notify)
        except UsageError as error:
            still_open = next((p for p in queue.pending() if p.id == prompt_id), None) if notify else None
            if still_open:
                termux.show(still_open, home, note=str(error))
            elif notify:
                termux.take_down(home)
            raise
    termux.take_down(home)


def _take(queue: AnnotationQueue, verdict: str, prompt_id: int, notify: bool) -> None:
    if verdict == "edit":
        typed = sys.stdin.buffer.read().decode("utf-8", "replace")
        queue.edit(prompt_id, termux.typed_text(typed) if notify else typed)
    else:
        {"good": queue.accept, "skip": queue.dismiss, "never": queue.never_ask}[verdict](prompt_id)


def _queue(store: Store, settings: Settings) -> AnnotationQueue:
    s = settings
    return AnnotationQueue(store, s.daily_limit, s.quiet_from, s.quiet_until, bin_bytes=s.bin_bytes)


def _learner(home: Path, model: Path, settings: Settings, backend: str):
    def learn(should_stop) -> str:
        with Runtime(home, model, settings, backend=backend) as runtime:
            return runtime.learn_slice(should_stop, Progress)

    return learn


@contextmanager
def _scheduler(home: Path, settings: Settings) -> Iterator[Scheduler]:
    """A scheduler that ends its slice with a checkpoint on Ctrl-C or SIGTERM; a second one ends it at once."""
    with open_store(home, settings) as store, interruptible(SIGINT, SIGTERM) as interrupted:
        source = make_source(settings.state_source, store.home)
        yield Scheduler(store, settings, source, awake=termux.wake_lock, interrupted=interrupted)
