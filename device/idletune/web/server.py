"""Listens and serves: uvicorn with h11, on a socket that is bound before anything else is loaded."""

import ipaddress
import logging
import socket

import uvicorn

from ..errors import UsageError
from .access import Access
from .app import make_app
from .doors import Door
from .protocol import PatientProtocol

LOOPBACK = "127.0.0.1"
KEPT_SECONDS = 60  # a connection between two requests
GOODBYE_SECONDS = 10  # for the last answers, when the server stops
LARGEST_HEAD = 16 * 1024  # bytes of a request's line and headers


class WebServer:
    """Serves a dispatcher until `stop`. Close it when done; it closes neither dispatcher nor runtime."""

    def __init__(self, door: Door, token: str, address: str = LOOPBACK, port: int = 0):
        self._socket = bound(address, port)
        self.address, self.port = self._socket.getsockname()[:2]
        self.access = Access(token, self.port, loopback_only=is_loopback(address))
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are about what clients send
        config = uvicorn.Config(
            make_app(door, self.access),
            http=PatientProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEPT_SECONDS,
            timeout_graceful_shutdown=GOODBYE_SECONDS,
            h11_max_incomplete_event_size=LARGEST_HEAD,
        )
        self.uvicorn = _Server(config, door)

    @property
    def url(self) -> str:
        """Where it is reached, without a slash at the end."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"

    def new_link(self) -> str:
        """A link that opens the page in a browser, once."""
        return f"{self.url}/open?key={self.access.new_link_key()}"

    def run(self) -> None:
        """Serve; returns after `stop`, SIGTERM or SIGINT."""
        self.uvicorn.run(sockets=[self._socket])

    def stop(self) -> None:
        """End `run`; from a signal handler or another thread."""
        self.uvicorn.should_exit = True

    def close(self) -> None:
        self._socket.close()


class _Server(uvicorn.Server):
    """Ends what runs first: streams of events would else be waited for."""

    def __init__(self, config: uvicorn.Config, door: Door):
        super().__init__(config)
        self._door = door

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._door.close()
        await super().shutdown(sockets)


def bound(address: str, port: int) -> socket.socket:
    """A socket bound to an IP address. UsageError where that cannot be."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    except ValueError:
        raise UsageError(f"{address!r} is no IP address; give one of this machine, as {LOOPBACK}") from None
    try:
        return socket.create_server((address, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"cannot listen on {address}, port {port} ({reason}); end what listens there, or choose another with --port"
        ) from None


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
