"""How a method is declared, and what its function is told of the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ...state.origins import WEB_PAGE
from ..clients import Client
from ..errors import WRONG_USE, RpcError
from ..messages import Id
from ..schema import Field, Method

if TYPE_CHECKING:
    from ..dispatcher import Dispatcher
    from ..shared_runtime import SharedRuntime

API_VERSION = 2  # counts up when a caller that knew the version before could fail
METHODS: dict[str, Method] = {}
Run = TypeVar("Run", bound=Callable[..., dict])


@dataclass(frozen=True)
class Call:
    """Where a call came from, and what it may use."""

    dispatcher: Dispatcher
    id: Id
    client: Client

    @property
    def shared(self) -> SharedRuntime:
        return self.dispatcher.shared

    @property
    def origin(self) -> str:
        """The caller's mark on exchanges and answers (state/origins.py)."""
        return self.client.events.origin

    def session(self, named: str | None) -> str:
        """The session this call is in: the one it names, or the client's own. RpcError for an unknown id."""
        return self.dispatcher.clients.session_of(self.client, named)

    def check_host(self) -> None:
        """RpcError (wrong_use) for a client on the socket: it may not open or close the runtime."""
        if not self.client.is_host:
            raise RpcError(WRONG_USE, "the runtime belongs to the process that serves it; start or end that one")

    def check_person(self) -> None:
        """RpcError (wrong_use) for programs: what cannot be undone is for the host app and the page."""
        if not self.client.is_host and self.origin != WEB_PAGE:
            raise RpcError(WRONG_USE, "this is for the user alone: on the page, in the app, or on the command line")


def method(name: str, params: tuple[Field, ...] = (), result: tuple[Field, ...] = ()) -> Callable[[Run], Run]:
    """Declare the function below as a method; its docstring is the method's description."""

    def declare(run: Run) -> Run:
        METHODS[name] = Method(name, " ".join((run.__doc__ or "").split()), params, result, run)
        return run

    return declare
