"""Who may speak to the server.

- Host: an IP address or `localhost`, so that a name that an attacker lets point here (DNS rebinding) is refused.
- Origin and Sec-Fetch-Site: no page of another origin may send requests, not even one on another port of this machine.
- A bearer token for programs. For the page a cookie and a key, both from a link that works once. A cookie alone is sent
  to every port of a host, so to any other program's server that the browser visits; the page stores the key, and
  browsers keep what pages store apart by port. Page files need neither: they hold nothing of the user's.
"""

import hmac
import ipaddress
import secrets
import threading
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

COOKIE_DAYS = 30


class Caller(Enum):
    """Who sent a request: the page in the user's browser, or another program."""

    PAGE = "page"
    PROGRAM = "program"


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused."""

    status: int
    kind: str
    message: str


class Access:
    """Checks requests. Thread-safe. `port` is in the cookie's name, for cookies are not kept apart by ports."""

    def __init__(self, token: str, port: int, loopback_only: bool = True):
        self._token, self._loopback_only = token, loopback_only
        self.cookie = f"idletune_{port}"
        self._cookie_value, self.page_key = (
            hmac.new(token.encode(), part, sha256).hexdigest() for part in (b"cookie", b"page key")
        )
        self._lock, self._link = threading.Lock(), ""

    def new_link_key(self) -> str:
        """The key of a link that opens the page once; an earlier one that was not used opens it no more."""
        self._link = secrets.token_urlsafe(24)
        return self._link

    def use_link_key(self, key: str) -> bool:
        """Whether this key opens the page; it does so once."""
        with self._lock:
            right = bool(self._link) and _same(key, self._link)
            if right:
                self._link = ""
            return right

    def set_cookie(self) -> str:
        """The header that lets a browser in."""
        life = f"Max-Age={COOKIE_DAYS * 86400}"
        return f"{self.cookie}={self._cookie_value}; Path=/; HttpOnly; SameSite=Strict; {life}"

    def foreign(self, headers: Headers, navigates: bool) -> Refusal | None:
        """Why the request is not from here: its Host, its Origin, or what the browser says of its site.

        `navigates`: it asks for the page, which a link anywhere may lead to.
        """
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_our_host(hosts[0]):
            return Refusal(403, "foreign_host", "the Host header is to be localhost or this machine's IP address")
        if len(origins) > 1 or any(origin != f"http://{hosts[0]}" for origin in origins):
            return Refusal(403, "foreign_origin", "requests from pages of another origin are refused")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigates:
            return Refusal(403, "foreign_origin", "requests from pages of another origin are refused")
        return None

    def caller(self, headers: Headers, page_key: str) -> Caller | None:
        """Who sent the request: by its token, or by its cookie together with the page's key. None where it is wrong."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme:
            return Caller.PROGRAM if scheme.lower() == "bearer" and _same(token.strip(), self._token) else None
        cookie = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        right = _same(cookie, self._cookie_value) & _same(page_key, self.page_key)
        return Caller.PAGE if right else None

    def _is_our_host(self, host: str) -> bool:
        name = _without_port(host)
        if name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._loopback_only


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())
