"""Limits of a request: its size, the time it may take to arrive, and how many are under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from starlette.requests import Request

from ..rpc import messages
from ..rpc.errors import INVALID_REQUEST, RpcError
from .answers import Refused

LARGEST_BODY = messages.LARGEST_REQUEST
BODY_SECONDS = 20.0
MOST_UNDER_WAY = 24


class UnderWay:
    """Counts the requests that are being answered."""

    def __init__(self, most: int = MOST_UNDER_WAY):
        self._most, self._count = most, 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Refused (429) at the limit."""
        if self._count >= self._most:
            raise Refused(429, "busy", f"{self._most} requests are under way, which is the limit; try again later")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


async def read_json(request: Request) -> Any:
    """The JSON value in the body. Refused (408, 413, 415), or RpcError where it is none within the limits."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "unsupported_media_type", "send the body as Content-Type: application/json")
    return messages.read(await read_body(request, LARGEST_BODY))


async def read_object(request: Request) -> dict:
    """The same, for a JSON object."""
    value = await read_json(request)
    if not isinstance(value, dict):
        raise RpcError(INVALID_REQUEST, "the body is to be a JSON object")
    return value


async def read_body(request: Request, largest: int, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body. Refused where it is too large (413) or takes too long to arrive (408)."""
    declared = request.headers.get("content-length", "0")
    too_large = Refused(413, "too_large", f"the body has more than {largest} bytes, which are the limit")
    if not declared.isdecimal() or int(declared) > largest:
        raise too_large
    body = bytearray()
    try:
        with anyio.fail_after(seconds):
            async for part in request.stream():
                body += part
                if len(body) > largest:
                    raise too_large
    except TimeoutError:
        raise Refused(408, "timeout", f"the body did not arrive within {seconds:g} s") from None
    return bytes(body)
