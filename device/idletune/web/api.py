"""/api: the product's own methods (docs/rpc.md) and their events, for the page and for programs."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ..rpc.errors import INVALID_REQUEST, RpcError
from .answers import Json
from .doors import Door
from .event_streams import as_sse
from .limits import UnderWay, read_object

NAMES = {"method", "params", "id"}


class Api:
    """POST /api/rpc and GET /api/events."""

    def __init__(self, door: Door, under_way: UnderWay):
        self._door, self._under_way = door, under_way

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/rpc", self.rpc, methods=["POST"]),
            Route("/api/events", self.events, methods=["GET"]),
        ]

    async def rpc(self, request: Request) -> Response:
        """{"method", "params"} gives {"result"}. A call goes on when its client hangs up; `cancel` and `stop` end it.

        With an `id`, events of a streamed chat name it.
        """
        asked = await read_object(request)
        if not isinstance(asked.get("method"), str) or not asked.keys() <= NAMES:
            raise RpcError(INVALID_REQUEST, 'a request has "method", and may have "params" and "id"')
        id = asked.get("id")
        if not isinstance(id, (str, type(None))) or len(id or "") > 64:
            raise RpcError(INVALID_REQUEST, "an id is a text of at most 64 characters")
        with self._under_way.one_more():
            result = await self._door.call(self._door.owner(request), asked["method"], asked.get("params", {}), id)
        return Json({"result": result})

    async def events(self, request: Request) -> Response:
        """Server-sent events, as `subscribe` gives them on the socket."""
        self._door.check_room(request)
        return StreamingResponse(self._until_left(request), media_type="text/event-stream")

    async def _until_left(self, request: Request) -> AsyncIterator[bytes]:
        stream = self._door.open_stream(request)
        try:
            async for part in as_sse(stream):
                yield part
        finally:
            self._door.close_stream(request, stream)
