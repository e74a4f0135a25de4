"""The one open runtime, and whose turn it is.

The model is for one call at a time; the store is for all. So calls come in two kinds:
- those that need the model (chat, observe, rollback ...) wait for it, one after the other. Whoever waits makes
  a slice of learning stop at its next step: the user always wins. A slice itself never waits.
- those that need the store alone (status, prompts, answer, device_state ...) run at once, also beside a slice;
  its own lock keeps them apart.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import BUSY, CANCELLED, NOT_OPEN, WRONG_USE, RpcError

if TYPE_CHECKING:  # loads numerical libraries
    from ..runtime import Runtime


class Work:
    """A chat or a slice that can be asked to stop."""

    def __init__(self, name: str):
        self.name, self.cancelled = name, False


class Session:
    """Opens, closes and hands out the runtime. Every method may be called from any thread."""

    def __init__(self):
        self._model = threading.Lock()  # held by whoever uses the model, opens or closes
        self._mutex = threading.Lock()  # guards the three below; nothing waits while it is held
        self._runtime: "Runtime | None" = None
        self._waiting, self._work = 0, set()
        self._ended = False
        # The thread that computes: an engine keeps a team of threads for each one that calls it, and callers vary.
        self._computing = ThreadPoolExecutor(1, "idletune-model")
        self.told_prompt: int | None = None  # the question that was announced last

    def opened(self) -> "Runtime":
        """The runtime, for what needs the store alone. RpcError (not_open) when there is none."""
        runtime = self._runtime
        if runtime is None:
            raise RpcError(NOT_OPEN, "no runtime is open; call open with a model and a home")
        return runtime

    def runtime(self) -> "Runtime | None":
        """The same, or None."""
        return self._runtime

    def open(self, make: "Callable[[], Runtime]") -> "Runtime":
        """Make the runtime; wrong_use when one is open already."""
        with self._turn():
            if self._ended:
                raise RpcError(NOT_OPEN, "this dispatcher is closed for good; create another")
            if self._runtime is not None:
                raise RpcError(WRONG_USE, f"{self._runtime.store.home} is open already; close it first")
            self._runtime, self.told_prompt = self.compute(make), None
            return self._runtime

    def close(self, for_good: bool = False) -> bool:
        """Stop what runs and close; False when nothing was open."""
        self._ended = self._ended or for_good
        self.cancel()
        with self._turn():
            runtime, self._runtime = self._runtime, None
            if runtime is not None:
                runtime.close()
            if for_good:
                self._computing.shutdown(wait=False)
            return runtime is not None

    def compute(self, work: Callable):
        """The result of `work`, on the one thread that uses the model; for whoever has the turn."""
        return self._computing.submit(work).result()

    @contextmanager
    def model(self) -> "Iterator[Runtime]":
        """The runtime with its model for this call alone, as soon as the calls before it have ended."""
        with self._turn():
            yield self.opened()

    @contextmanager
    def chatting(self) -> "Iterator[tuple[Runtime, Callable[[], bool]]]":
        """The same, and whether to stop. RpcError (cancelled) when that was asked for before it began."""
        with self._working("chat") as work, self._turn():
            if work.cancelled:
                raise RpcError(CANCELLED, "the chat was cancelled before it began")
            yield self.opened(), lambda: work.cancelled

    @contextmanager
    def learning(self) -> "Iterator[tuple[Runtime, Callable[[], str]]]":
        """The runtime for a slice, and why it is to stop now ("" while it may go on). RpcError (busy) if not free."""
        self.opened()
        if self._waiting or not self._model.acquire(blocking=False):
            raise RpcError(BUSY, f"the model is in use ({self._in_use()}); tick again when it is free")
        try:
            with self._working("tick") as work:
                yield self.opened(), lambda: self._why_stop(work)
        finally:
            self._model.release()

    def cancel(self, *names: str) -> list[str]:
        """Ask the chats and the slice (or those named) to stop, waiting ones too; returns what was there to stop."""
        with self._mutex:
            found = [work for work in self._work if not names or work.name in names]
            for work in found:
                work.cancelled = True
        return sorted(work.name for work in found)

    def _why_stop(self, work: Work) -> str:
        return "asked to stop" if work.cancelled else "the user needs the model" if self._waiting else ""

    def _in_use(self) -> str:
        with self._mutex:
            return ", ".join(sorted(work.name for work in self._work)) or "another call"

    @contextmanager
    def _working(self, name: str) -> Iterator[Work]:
        work = Work(name)
        with self._mutex:
            self._work.add(work)
        try:
            yield work
        finally:
            with self._mutex:
                self._work.discard(work)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._mutex:
            self._waiting += 1
        try:
            self._model.acquire()
        finally:
            with self._mutex:
                self._waiting -= 1
        try:
            yield
        finally:
            self._model.release()
