"""Commands that answer other programs: serve (a Unix socket, HTTP) and web (HTTP, and the page in a browser)."""

from __future__ import annotations

import ipaddress
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from shutil import which
from typing import TYPE_CHECKING

from ..errors import IdleTuneError, UsageError
from ..rpc import Dispatcher
from ..rpc.server import Server, stopped_by_signals
from ..runtime import Runtime
from ..schedule.programs import output_of
from .options import home_of, model_of, settings_of
from .say import say

if TYPE_CHECKING:  # Starlette and uvicorn are an extra
    from ..web.server import WebServer

OPEN_URL = "termux-open-url"
FLEET_DOOR = frozenset({"version", "fleet", "upload", "fleet_update", "fleet_loss"})
LOOPBACK, PORT = "127.0.0.1", 8377


def serve(arguments: Namespace) -> None:
    """Answer on Unix sockets, over HTTP, or on both."""
    doors = [(arguments.socket, frozenset[str]()), (arguments.fleet_socket, FLEET_DOOR)]
    paths = [(path, only) for path, only in doors if path is not None]
    if not paths and not arguments.http:
        raise UsageError("name where to serve: --socket PATH, --fleet-socket PATH, --http, or several of them")
    with _serving(arguments) as (dispatcher, opens), ExitStack() as closing:
        servers = [closing.enter_context(Server(dispatcher, path, only=only)) for path, only in paths]
        for server in servers[not arguments.http :]:
            _run_beside(server)
        if arguments.http:
            for path, _ in paths:
                say(f"serving on {path}")
            _serve_http(arguments, dispatcher, opens)
            return
        with stopped_by_signals(servers[0]):
            opens()
            say(f"serving on {', '.join(str(path) for path, _ in paths)}; SIGTERM or Ctrl-C ends it")
            servers[0].run()


def web(arguments: Namespace) -> None:
    """Serve the page, print the link to it, and open it where that can be done."""
    with _serving(arguments) as (dispatcher, opens):
        _serve_http(arguments, dispatcher, opens, opening=not arguments.no_open)


@contextmanager
def _serving(arguments: Namespace) -> Iterator[tuple[Dispatcher, Callable[[], object]]]:
    """A dispatcher, and what opens the runtime in it."""
    home, model, settings, dispatcher = home_of(arguments), model_of(arguments), settings_of(arguments), Dispatcher()
    dispatcher.host.subscribed = False  # nobody in this process reads events

    def open_runtime() -> object:
        return dispatcher.shared.open(lambda: Runtime(home, model, settings, backend=arguments.backend))

    try:
        yield dispatcher, open_runtime
    finally:
        dispatcher.close()


def _serve_http(
    arguments: Namespace, dispatcher: Dispatcher, opens: Callable[[], object], opening: bool = False
) -> None:
    server = _web_server(arguments, dispatcher)
    failure: list[IdleTuneError] = []

    def open_beside() -> None:  # the page is there while the model is being loaded
        try:
            opens()
        except IdleTuneError as error:
            failure.append(error)
            server.stop()

    try:
        with stopped_by_signals(server):
            loading = threading.Thread(target=open_beside, name="idletune-open")
            loading.start()
            _tell(server, arguments, opening)
            server.run()
            loading.join()
    finally:
        server.close()
    if failure:
        raise failure[0]


def _web_server(arguments: Namespace, dispatcher: Dispatcher) -> WebServer:
    _check_exposure(arguments.address, arguments.unencrypted_on_the_network)
    try:
        from ..web.doors import Door
        from ..web.server import WebServer
        from ..web.token_file import read_or_make_token
    except ImportError as error:
        raise UsageError(f"the HTTP server needs {error.name}; pip install 'idletune[web]'") from None
    return WebServer(Door(dispatcher), read_or_make_token(home_of(arguments)), arguments.address, arguments.port)


def _check_exposure(address: str, told: bool) -> None:
    """UsageError for an address that others can reach, unless the user has said that he knows."""
    try:
        if ipaddress.ip_address(address).is_loopback or told:
            return
    except ValueError:
        raise UsageError(f"{address!r} is no IP address; give one of this machine, as {LOOPBACK}") from None
    raise UsageError(
        f"{address} can be reached by other machines, and HTTP is not encrypted: whoever is on the network can read the"
        " conversations and the token; add --unencrypted-on-the-network if that is what you want"
    )


def _tell(server: WebServer, arguments: Namespace, opening: bool) -> None:
    link = server.new_link()
    say(f"open in a browser, once: {link}")
    say(f"other programs: {server.url}/v1, token in {home_of(arguments) / 'web_token'}; SIGTERM or Ctrl-C ends it")
    if opening and which(OPEN_URL):
        output_of([OPEN_URL, link])


def _run_beside(server: Server) -> None:
    threading.Thread(target=server.run, name="idletune-socket", daemon=True).start()
