"""Methods on the runtime itself: version, open, close, status."""

import base64
import binascii
from dataclasses import fields
from typing import TYPE_CHECKING

from ... import __version__
from ...errors import UsageError
from ...model.engines import BACKENDS
from ...settings import Settings, load_settings, with_present_names
from ...small_files import user_path
from ..errors import INVALID_PARAMS, RpcError
from ..schema import boolean, integer, object_, path, text
from .declaration import API_VERSION, Call, method

if TYPE_CHECKING:  # loads numerical libraries
    from ...runtime import Runtime


@method(
    "version",
    result=(
        text("idletune", "the package's version"),
        integer("api", "the version of these methods; it counts up with each breaking change"),
    ),
)
def version(call: Call) -> dict:
    """The versions of package and API; needs no open runtime."""
    return {"idletune": __version__, "api": API_VERSION}


@method(
    "open",
    (
        path("model", "a GGUF file, or the folder of a bundle"),
        path("home", "the folder that holds the state; made if there is none"),
        object_("settings", "settings that override those of the home, until close", required=False),
        text("key", "32 bytes in Base64 that encrypt the state; left out: none", required=False, longest=64),
        text("backend", "the engine that answers", required=False, choices=tuple(BACKENDS)),
    ),
    (path("home", "the folder in use"), path("model", "the GGUF file in use")),
)
def open_(
    call: Call, model: str, home: str, settings: dict | None = None, key: str | None = None, backend: str = BACKENDS[0]
) -> dict:
    """Load the model and open the state; takes up to many seconds. Not for clients on the socket."""
    call.check_host()
    try:  # only here, so that a process that never opens anything loads no numerical library
        from ...model.bundle import base_of
        from ...runtime import Runtime
    except ImportError as error:
        raise UsageError(f"the runtime needs {error.name}, which this Python has not; pack it with the app") from None

    def make() -> "Runtime":
        kept = load_settings(user_path(home) / "settings.json")
        return Runtime(
            user_path(home),
            base_of(user_path(model)),
            _settings({**kept, **(settings or {})}),
            key=None if key is None else _key(key),
            backend=backend,
        )

    runtime = call.shared.open(make)
    call.dispatcher.clients.told_nothing()
    return {"home": str(runtime.store.home), "model": str(runtime.model.path)}


@method("close", result=(boolean("closed", "false when nothing was open"),))
def close(call: Call) -> dict:
    """Stop what runs and close the model and the state; open may follow. Not for clients on the socket."""
    call.check_host()
    return {"closed": call.shared.close()}


@method(
    "status",
    result=(
        boolean("open", "whether a runtime is open; only then there is the other field"),
        object_(
            "runtime",
            "home, model, buffer, answers, questions, adapter (origins: where what it learned came from), held_back"
            " (an adapter that waits for promote), dropped (one that broke), learning, settings ...",
            required=False,
        ),
    ),
)
def status(call: Call) -> dict:
    """The state of buffer, questions, adapters and learning, and all settings."""
    runtime = call.shared.runtime()
    return {"open": True, "runtime": runtime.status()} if runtime else {"open": False}


def _settings(values: dict) -> Settings:
    known, values = {spec.name for spec in fields(Settings)}, with_present_names(values)
    if unknown := sorted(set(values) - known):
        raise UsageError(f"no setting {unknown[0][:40]!r}; known: {', '.join(sorted(known))}")
    return Settings(**values)


def _key(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise RpcError(INVALID_PARAMS, "parameter key is not Base64") from None
