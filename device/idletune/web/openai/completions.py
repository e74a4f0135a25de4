"""POST /v1/chat/completions and /v1/completions, streamed and not."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ...rpc.clients import Client
from ...rpc.errors import RpcError
from ..answers import Json, Refused, openai_error, sse
from ..doors import Door, while_connected
from ..event_streams import AwaitedEvents
from ..limits import UnderWay, read_object
from . import answers
from .answers import Form
from .chat_request import chat_request
from .checks import Asked
from .text_request import text_request

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Kind:
    """A kind of completion: the method that makes it, how its request is read, and the form of its answer."""

    method: str
    read: Callable[[dict], Asked]
    form: Form


CHAT = Kind("complete", chat_request, answers.CHAT)
TEXT = Kind("continue_text", text_request, answers.TEXT)


class Completions:
    """Answers conversations, or continues texts. What a client that hung up had asked for is stopped."""

    def __init__(self, door: Door, under_way: UnderWay, kind: Kind):
        self._door, self._under_way, self._kind = door, under_way, kind

    async def __call__(self, request: Request) -> Response:
        asked = self._kind.read(await read_object(request))
        model_id = self._door.model_id()
        if not asked.stream:
            result = await self._result(request, asked)
            return Json(self._kind.form.answer(result, model_id, int(time.time())))
        streamed = Streamed(self._door, self._under_way, request, self._kind, asked, model_id)
        await while_connected(request, streamed.begin())
        return StreamingResponse(streamed.parts(), media_type="text/event-stream")

    async def _result(self, request: Request, asked: Asked) -> dict:
        client = self._door.request_of(request)
        try:
            with self._under_way.one_more():
                return await while_connected(request, self._door.call(client, self._kind.method, asked.params))
        finally:
            self._door.leave(client)


class Streamed:
    """An answer in pieces: the first is awaited before the response begins, so that an error has its status."""

    def __init__(self, door: Door, under_way: UnderWay, request: Request, kind: Kind, asked: Asked, model_id: str):
        self._door, self._under_way, self._kind, self._asked = door, under_way, kind, asked
        self._client: Client = door.request_of(request)
        self._events = cast(AwaitedEvents, self._client.events)
        self._model, self._created, self._id = model_id, int(time.time()), ""

    async def begin(self) -> None:
        """Wait for the first piece, or the end. RpcError where there will be none."""
        self._call = asyncio.ensure_future(self._called())
        # Where the client hangs up nobody awaits the call, and asyncio would log its error.
        self._call.add_done_callback(lambda call: call.cancelled() or call.exception())
        try:
            self._first = await self._events.next()
            if self._first is None:
                self._call.result()
        except BaseException:
            self._door.leave(self._client)
            raise

    async def parts(self) -> AsyncIterator[bytes]:
        """The response, as server-sent events."""
        try:
            event = self._first
            while event is not None:
                self._id = event["params"]["completion"]
                yield self._chunk(self._kind.form.piece(event["method"], event["params"]["text"], event is self._first))
                event = await self._events.next()
            yield self._end(await self._call)
        except RpcError as error:
            yield sse({"error": openai_error(Refused.of(error))})
        finally:
            self._door.leave(self._client)
        yield DONE

    async def _called(self) -> dict:
        try:
            with self._under_way.one_more():
                params = {**self._asked.params, "stream": True}
                return await self._door.call(self._client, self._kind.method, params)
        finally:
            self._events.close()

    def _end(self, result: dict) -> bytes:
        self._id = result["completion"]
        finish, fingerprint = answers.FINISH[result["stop"]], answers.fingerprint(result)
        end = self._chunk(self._kind.form.end, finish, system_fingerprint=fingerprint)
        return end + self._chunk(None, usage=answers.usage(result)) if self._asked.include_usage else end

    def _chunk(self, said: dict | None, finish: str | None = None, **further: object) -> bytes:
        return sse(self._kind.form.chunk(self._id, self._model, self._created, said, finish, **further))
