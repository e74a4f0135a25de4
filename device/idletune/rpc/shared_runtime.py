"""The one open runtime, shared by all clients in turns.

The model is for one call at a time; the store is for all. So calls come in two kinds:
- those that need the model (chat, observe, rollback ...) wait for it, round robin among clients (turns.py). Whoever
  waits makes a slice of learning stop at its next step: the user always wins. A slice itself never waits.
- those that need the store alone (status, prompts, answer, device_state ...) run at once, also beside a slice;
  its own lock keeps them apart.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from .clients import Client
from .errors import BUSY, NOT_OPEN, WRONG_USE, RpcError
from .turns import MOST_QUEUED_CHATS, Turns

if TYPE_CHECKING:  # loads numerical libraries
    from ..runtime import Runtime
    from ..runtime.importing import Imported


Result = TypeVar("Result")
ImportStep = Callable[["Runtime", "Iterator[Imported]", float], "tuple[Imported | None, bool]"]
TrainingStep = Callable[["Runtime", Callable[[], str]], object]


class Work:
    """A client's chat or slice of learning, which can be cancelled."""

    def __init__(self, name: str, client: Client | None):
        self.name, self.client, self.cancelled = name, client, False

    def belongs_to(self, client: Client) -> bool:
        """Whether it was begun for this client, or for another request of the same owner."""
        return self.client is not None and self.client.owner is client.owner


class SharedRuntime:
    """Opens, closes and hands out the runtime. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._turns = Turns()  # taken by whoever uses the model, opens or closes
        self._mutex = threading.Lock()  # guards the work; nothing waits while it is held
        self._runtime: "Runtime | None" = None
        self._work: set[Work] = set()
        self._ended = False
        # The thread that computes: an engine keeps a team of threads for each one that calls it, and callers vary.
        self._computing = ThreadPoolExecutor(1, "idletune-model")

    def opened(self) -> "Runtime":
        """The runtime, for what needs the store alone. RpcError (not_open) when there is none."""
        runtime = self._runtime
        if runtime is None:
            raise RpcError(NOT_OPEN, "no runtime is open; call open with a model and a home")
        return runtime

    def runtime(self) -> "Runtime | None":
        """The runtime, or None where none is open."""
        return self._runtime

    def open(self, make: "Callable[[], Runtime]") -> "Runtime":
        """Make the runtime; wrong_use when one is open already."""
        with self._turn():
            if self._ended:
                raise RpcError(NOT_OPEN, "this dispatcher is closed for good; create another")
            if self._runtime is not None:
                raise RpcError(WRONG_USE, f"{self._runtime.store.home} is open already; close it first")
            self._runtime = self.compute(make)
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

    def compute(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, on the one thread that uses the model; for whoever has the turn."""
        return self._computing.submit(work).result()

    @contextmanager
    def model(self, client: Client | None = None) -> "Iterator[Runtime]":
        """The runtime with its model for this call alone, when it is the client's turn."""
        with self._turn(client):
            yield self.opened()

    @contextmanager
    def chatting(self, client: Client | None = None) -> "Iterator[tuple[Runtime, Callable[[], bool]]]":
        """The same, and whether to stop. RpcError: cancelled before it began, or busy with the client's own chats."""
        with self._working("chat", client) as work, self._turn(client, MOST_QUEUED_CHATS, lambda: work.cancelled):
            yield self.opened(), lambda: work.cancelled

    @contextmanager
    def learning(self, client: Client | None = None) -> "Iterator[tuple[Runtime, Callable[[], str]]]":
        """The runtime for a slice, and why it is to stop now ("" while it may go on). RpcError (busy) if not free."""
        self.opened()
        if not self._turns.take_now():
            raise RpcError(BUSY, f"the model is in use ({self._in_use()}); tick again when it is free")
        try:
            with self._working("tick", client) as work:
                yield self.opened(), lambda: self._why_stop(work)
        finally:
            self._turns.release()

    @contextmanager
    def learning_by_hand(self) -> "Iterator[Callable[[TrainingStep], bool]]":
        """Gives a function that runs a step of learning when it is its turn; False once it was asked to stop.

        The step gets the runtime and why it is to stop now ("" while it may go on). It steps aside for every call that
        needs the model, and is run again afterwards: whoever chats waits for one of its steps at most.
        """
        with self._working("tick", None) as work:

            def run(step: "TrainingStep") -> bool:
                if work.cancelled:
                    return False
                self._turns.take(work, cancelled=lambda: work.cancelled)
                try:
                    step(self.opened(), lambda: self._why_stop(work))
                finally:
                    self._turns.release()
                return not work.cancelled

            yield run

    @contextmanager
    def importing(self, client: Client | None = None) -> "Iterator[ImportStep]":
        """Gives a function that imports for so many seconds when it is the client's turn.

        It returns what there is so far, and whether there is more; no more once `cancel` stopped it.
        RpcError (not_open) where the runtime that the import belongs to was closed.
        """
        with self._working("import", client) as work:

            def run(runtime: "Runtime", steps: "Iterator[Imported]", seconds: float) -> "tuple[Imported | None, bool]":
                if work.cancelled:
                    return None, False
                with self._turn(client):
                    if self.opened() is not runtime:
                        raise RpcError(NOT_OPEN, "the runtime was closed meanwhile; import the file again")
                    return self.compute(lambda: _run_for(steps, seconds, lambda: work.cancelled))

            yield run

    def cancel(self, *names: str, client: Client | None = None) -> list[str]:
        """Ask the chats and the slice (or those named) to stop, waiting ones too; returns what was there to stop.

        With `client`, of the chats only this client's.
        """
        with self._mutex:
            found = [work for work in self._work if not names or work.name in names]
            found = [work for work in found if client is None or work.belongs_to(client) or work.name == "tick"]
            for work in found:
                work.cancelled = True
        self._turns.wake()
        return sorted(work.name for work in found)

    def abandon(self, client: Client) -> None:
        """Stop what was begun for a client that has gone."""
        with self._mutex:
            for work in self._work:
                work.cancelled = work.cancelled or work.client is client
        self._turns.wake()

    def _why_stop(self, work: Work) -> str:
        return "asked to stop" if work.cancelled else "the user needs the model" if self._turns.waiting else ""

    def _in_use(self) -> str:
        with self._mutex:
            return ", ".join(sorted(work.name for work in self._work)) or "another call"

    @contextmanager
    def _working(self, name: str, client: Client | None) -> Iterator[Work]:
        work = Work(name, client)
        with self._mutex:
            self._work.add(work)
            work.cancelled = client is not None and client.gone  # it hung up before anybody could know of this
        try:
            yield work
        finally:
            with self._mutex:
                self._work.discard(work)

    @contextmanager
    def _turn(
        self, client: Client | None = None, most: int | None = None, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        self._turns.take(client.owner if isinstance(client, Client) else client, most, cancelled)
        try:
            yield
        finally:
            self._turns.release()


def _run_for(
    steps: "Iterator[Imported]", seconds: float, stopped: Callable[[], bool]
) -> "tuple[Imported | None, bool]":
    """Take steps of an import for some time: what there is then, and whether there is more."""
    done, until = None, time.monotonic() + seconds
    for done in steps:
        if stopped():
            return done, False
        if time.monotonic() > until:
            return done, True
    return done, False
