"""Calls from the event loop to the dispatcher: in threads, and given up when the client hangs up."""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from ..rpc import Dispatcher
from ..rpc.clients import Client
from ..state.origins import HTTP_CLIENT, WEB_PAGE
from .access import Caller
from .event_streams import AwaitedEvents, Broadcast
from .limits import MOST_UNDER_WAY

Result = TypeVar("Result")
ORIGINS = {Caller.PAGE: WEB_PAGE, Caller.PROGRAM: HTTP_CLIENT}


class Door:
    """The dispatcher as the HTTP server sees it: one owner for the page, one for all other programs."""

    def __init__(self, dispatcher: Dispatcher):
        self.dispatcher = dispatcher
        self.broadcasts = {caller: Broadcast(origin) for caller, origin in ORIGINS.items()}
        self.owners = {caller: dispatcher.clients.connect(events) for caller, events in self.broadcasts.items()}
        self._threads = ThreadPoolExecutor(MOST_UNDER_WAY, "idletune-web")

    async def call(self, client: Client, method: str, params: object, id: str | None = None) -> dict:
        """The result of a method. Raises RpcError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.dispatcher.call, method, params, client, id)

    def request_of(self, request: Request) -> Client:
        """A client for this request alone, whose events can be awaited; `leave` it at the end."""
        owner = self.owner(request)
        return self.dispatcher.clients.request_of(owner, AwaitedEvents(owner.events.origin))

    def owner(self, request: Request) -> Client:
        """The client that all requests of this kind of caller belong to."""
        return self.owners[request.state.caller]

    def check_room(self, request: Request) -> None:
        """Refused (429) where too many streams are open."""
        self.broadcasts[request.state.caller].check_room()

    def open_stream(self, request: Request) -> AwaitedEvents:
        """The events of the owner, from now on. The page gets all questions to the user."""
        owner, stream = self.owner(request), self.broadcasts[request.state.caller].open()
        owner.subscribed = owner.all_prompts = True
        return stream

    def close_stream(self, request: Request, stream: AwaitedEvents) -> None:
        owner = self.owner(request)
        owner.subscribed = owner.all_prompts = self.broadcasts[request.state.caller].leave(stream)

    def leave(self, client: Client) -> None:
        """The request has ended; what it asked for and is not done is stopped."""
        self.dispatcher.leave(client)

    def model_id(self) -> str:
        """The name of the model that answers. RpcError (not_open) while it is being loaded."""
        return self.dispatcher.shared.opened().model.path.stem

    def close(self) -> None:
        """Stop what runs and end all streams, so that every request is answered."""
        self.dispatcher.cancel()
        for broadcast in self.broadcasts.values():
            broadcast.close()


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """The result of `work`. ClientDisconnect when the client hangs up before; the work is cancelled."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
