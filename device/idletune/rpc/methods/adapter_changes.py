"""What a call does to the adapters, told to all clients."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...state.verdicts import newest_verdict
from .declaration import Call

if TYPE_CHECKING:  # loads numerical libraries
    from ...runtime import Runtime
    from ...state.verdicts import VerdictRow


@contextmanager
def adapter_changes_announced(call: Call, runtime: "Runtime") -> "Iterator[list[VerdictRow]]":
    """Announce what the block does to the adapters. Yields a list that holds the gate's verdict after the block."""
    verdicts: list[VerdictRow] = []
    newest = newest_verdict(runtime.store)
    serving = runtime.adapters.current()
    yield verdicts
    found = newest_verdict(runtime.store)
    if found and (newest is None or found.id > newest.id):
        verdicts.append(found)
        change = {name: getattr(found, name) for name in ("version", "promoted", "suspicious", "reason")}
        call.dispatcher.announce("event.adapter", found.version, **change)
    if serving and not verdicts and runtime.adapters.current() != serving:
        gone = runtime.adapters.get(serving.version)
        change = {"version": gone.version, "promoted": False, "suspicious": False, "reason": gone.reason}
        call.dispatcher.announce("event.adapter", gone.version, **change)
