"""The commands that run on the device by themselves: slices of learning, and questions as notifications.

They open the database alone; the base model is loaded when a window is open and there is something to learn.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM

from ..errors import UsageError
from ..learning.outcome import SliceOutcome
from ..plain_text import one_line
from ..progress import Progress
from ..runtime import Runtime
from ..schedule import termux
from ..schedule.scheduler import Scheduler, watch
from ..schedule.state_sources import make_source
from ..settings import Settings
from ..state.annotation import AnnotationQueue
from ..state.origins import TERMINAL, TERMUX
from ..state.private_settings import PRIVATE, keep, kept
from ..state.store import Store, open_store
from .interrupts import interruptible
from .say import say

WATCH_SECONDS = 60.0


def tick(home: Path, model: Path, settings: Settings, backend: str) -> None:
    """One look, and a slice if the window is open."""
    with open_scheduler(home, settings) as scheduler:
        say(str(scheduler.tick(_learner(home, model, settings, backend))))


def watch_device(home: Path, model: Path, settings: Settings, backend: str) -> None:
    """Look every minute until it is interrupted."""
    with open_scheduler(home, settings) as scheduler:

        def sleep(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end and not scheduler.interrupted():
                time.sleep(0.2)

        learn = _learner(home, model, settings, backend)
        watch(scheduler, learn, sleep, WATCH_SECONDS, say)


def ask(home: Path, settings: Settings, notify: bool, page: int = 1, shown: str = "") -> None:
    """The question to put to the user now: printed, or put up as a notification, whose button More asks for a page.

    `shown` names the question of that page; another one begins at its first.
    """
    with open_store(home, settings) as store:
        _take_words_from_scripts(store)
        prompt = _queue(store, settings).next()
        if prompt is None:
            if notify:  # what was shown may be answered or forgotten by now
                termux.dismiss(home)
            print("no question now")
        elif notify:
            termux.show(prompt, home, page=page if shown == prompt.shown else 1)
            print(f"question {prompt.id} is shown")
        else:
            second = "" if prompt.second is None else f", or '{one_line(prompt.second)}'"
            print(f"{prompt.id}: about '{one_line(prompt.question)}' it said '{one_line(prompt.reply)}'{second}")


def answer(
    home: Path, settings: Settings, verdict: str, prompt_id: int, notify: bool, shown: str | None = None
) -> None:
    """Take an answer; a better one is read from standard input. What goes wrong is shown where it was given."""
    with open_store(home, settings) as store:
        queue = _queue(store, settings)
        try:
            _take(queue, verdict, prompt_id, notify, shown)
        except UsageError as error:
            due = queue.next() if notify else None  # in the quiet hours it comes again when they end
            if due and due.id == prompt_id:
                termux.show(due, home, note=str(error))
            elif notify:
                termux.dismiss(home)
            raise
    termux.dismiss(home)


def _take(queue: AnnotationQueue, verdict: str, prompt_id: int, notify: bool, shown: str | None) -> None:
    origin = TERMUX if notify else TERMINAL
    if verdict == "edit":
        typed = _read_input()
        queue.edit(prompt_id, termux.typed_text(typed) if notify else typed, origin, shown)
    elif verdict == "good":
        queue.accept(prompt_id, origin, shown)
    elif verdict in ("first", "second"):
        queue.choose_shown(prompt_id, verdict == "second", origin, shown)
    else:
        {"skip": queue.dismiss, "never": queue.never_ask}[verdict](prompt_id, shown)


def _take_words_from_scripts(store: Store) -> None:
    """Private settings that an earlier version wrote into the jobs' scripts go where the home keeps its own."""
    if carried := termux.settings_in_scripts(store.home, PRIVATE):
        if new := {name: value for name, value in carried.items() if not kept(store).get(name)}:
            keep(store, new)
        termux.remove_settings(store.home, carried)


def _read_input() -> str:
    """All of standard input; UsageError where there is none to read."""
    try:
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the answer from standard input ({error}); type it, or pipe it in") from None


def _queue(store: Store, settings: Settings) -> AnnotationQueue:
    s = settings
    return AnnotationQueue(
        store, s.daily_limit, s.quiet_from, s.quiet_until, bin_bytes=s.bin_bytes, ask_choices=s.ask_choices
    )


def _learner(home: Path, model: Path, settings: Settings, backend: str):
    def learn(should_stop: Callable[[], bool]) -> SliceOutcome:
        with Runtime(home, model, settings, backend=backend) as runtime:
            return runtime.learn_slice(should_stop, Progress)

    return learn


@contextmanager
def open_scheduler(home: Path, settings: Settings) -> Iterator[Scheduler]:
    """A scheduler that ends its slice with a checkpoint on Ctrl-C or SIGTERM; a second one ends it at once."""
    with open_store(home, settings) as store, interruptible(SIGINT, SIGTERM) as interrupted:
        _take_words_from_scripts(store)
        source = make_source(settings.state_source, store.home)
        yield Scheduler(store, settings, source, awake=termux.wake_lock, interrupted=interrupted)
