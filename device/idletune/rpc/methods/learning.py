"""Methods of learning: device_state, tick, learn, stop, learning, adapters, promote, rollback."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from ..schema import array, boolean, identifier, integer, number, object_, text
from .adapter_changes import adapter_changes_announced
from .declaration import Call, method

if TYPE_CHECKING:  # loads numerical libraries
    from ...state.verdicts import VerdictRow


MOST_SLICE_SECONDS = 480
MOST_ADAPTERS = 100


@method(
    "device_state",
    (
        object_(
            "state",
            "plugged, percentage, temperature_c, thermal_status, thermal_headroom, idle, free_memory_mb,"
            " free_disk_mb, do_not_ask; what is left out is unknown",
        ),
    ),
    (
        object_("validated", "the same fields; null where the value was missing or absurd"),
        object_("believed", "the earlier name of validated; goes with the next version", required=False),
    ),
)
def device_state(call: Call, state: dict) -> dict:
    """Report the device's state. It is valid for 30 seconds, so report it again while a slice runs.

    With `do_not_ask` true no question is put to the user until the next report.
    """
    validated = call.shared.opened().push_device_state(state)
    return {"validated": validated, "believed": validated}


@method(
    "tick",
    (
        number(
            "max_seconds",
            "the longest the slice may take; the settings bound it as well",
            required=False,
            least=1,
            most=MOST_SLICE_SECONDS,
        ),
    ),
    (
        text(
            "outcome",
            "the window is closed; stopped, to go on in the next slice; a verdict (held_back waits for promote); or"
            " only embeddings were refreshed, or second replies to questions written",
            choices=("not_now", "stopped", "promoted", "held_back", "rejected", "refreshed"),
        ),
        text("code", "the check that closed the window, or that would close it now"),
        text("reason", "the same as a sentence"),
        number("seconds", "how long the slice took"),
        boolean("more", "whether work is left for another slice"),
    ),
)
def tick(call: Call, max_seconds: float = float("inf")) -> dict:
    """Learn for one slice if the device allows it now. Does not wait: fails with busy while the model is in use."""
    with call.shared.learning(call.client) as (runtime, asked), adapter_changes_announced(call, runtime) as verdicts:
        done = call.shared.compute(lambda: runtime.tick(progress_events(call), asked, max_seconds))
        more = runtime.scheduler.nothing_to_do() is None
    # A slice also ends before it is done when another process forgets a set that it learns from.
    kind = "not_now" if done.outcome is None else "stopped" if done.stopped or more else "refreshed"
    for verdict in verdicts:
        kind = _verdict(verdict)
    return {"outcome": kind, "code": done.decision.code, "reason": done.reason, "seconds": done.seconds, "more": more}


@method("learn", result=(boolean("started", "it began; event.learning tells its end"),))
def learn(call: Call) -> dict:
    """Begin to learn now because a person asked to, whatever the hour and the device's state.

    It goes on after this call, steps aside for each call that needs the model, and ends with a verdict or by stop.
    """
    call.shared.opened()

    def ended(outcome: str, reason: str) -> None:
        call.dispatcher.announce("event.learning", outcome=outcome, reason=reason)

    announced = partial(adapter_changes_announced, call)
    call.dispatcher.learning.begin(progress_events(call), announced, ended)
    return {"started": True}


@method("stop", result=(boolean("stopped", "false when none was running"),))
def stop(call: Call) -> dict:
    """Stop learning at its next step, a slice or what was begun by hand; it keeps a checkpoint.

    The slice's tick answers `stopped`.
    """
    return {"stopped": bool(call.shared.cancel("tick"))}


@method(
    "learning",
    result=(
        boolean("running", "whether it learns at this moment, in this process or in another one"),
        boolean("unfinished", "whether a run was begun that learning goes on with"),
        array(
            "conditions",
            "what has to hold for learning by itself: code (as that of tick), met (null where it cannot be told),"
            " reason (why it is not met)",
        ),
    ),
)
def learning(call: Call) -> dict:
    """Why it learns by itself at this moment, or does not: each condition."""
    from ...schedule.lock import is_learning

    runtime = call.shared.opened()
    scheduler = runtime.scheduler
    return {
        "running": call.dispatcher.learning.running or is_learning(runtime.store.home),
        "unfinished": scheduler.has_unfinished_run(),
        "conditions": [asdict(condition) for condition in scheduler.conditions()],
    }


@method(
    "adapters",
    result=(
        integer("serving", "the version that answers; null is the base model alone", nullable=True),
        array("adapters", f"the newest {MOST_ADAPTERS} versions, newest first: version, state, reason, losses ..."),
    ),
)
def adapters(call: Call) -> dict:
    """The adapters trained so far, rejected ones included."""
    from ...learning.adapters import describe

    known = call.shared.opened().adapters
    current = known.current()
    return {
        "serving": current and current.version,
        "adapters": [describe(found) for found in known.all()[:MOST_ADAPTERS]],
    }


@method(
    "promote",
    (identifier("version", "the adapter that was held back"),),
    (integer("serving", "the version that answers now"),),
)
def promote(call: Call, version: int) -> dict:
    """Serve an adapter that the gate held back, after a person looked at it; status names it."""
    with call.shared.model(call.client) as runtime, adapter_changes_announced(call, runtime):
        return {"serving": runtime.promote(version).version}


@method("rollback", result=(integer("serving", "the version that answers now; null is the base", nullable=True),))
def rollback(call: Call) -> dict:
    """Serve the adapter before the current one, or the base."""
    with call.shared.model(call.client) as runtime, adapter_changes_announced(call, runtime):
        before = runtime.rollback()
    return {"serving": before and before.version}


def progress_events(call: Call) -> Callable[[str, int], AbstractContextManager[Callable[..., None]]]:
    """Progress bars that send event.training."""

    @contextmanager
    def bars(label: str, total: int) -> Iterator[Callable[..., None]]:
        def bar(done: int, note: str = "") -> None:
            call.dispatcher.announce("event.training", stage=label, done=done, total=total, note=note)

        yield bar

    return bars


def _verdict(verdict: "VerdictRow") -> str:
    return "promoted" if verdict.promoted else "held_back" if verdict.suspicious else "rejected"
