"""The application: routes, and what stands before all of them (who may speak, headers of every response)."""

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..rpc.errors import RpcError
from .access import Access
from .answers import Refused, error_answer
from .api import Api
from .doors import Door
from .limits import UnderWay
from .openai.routes import OpenAi
from .page_files import PageFiles

PRIVATE = "/api/", "/v1/"
PAGE_KEY = "x-idletune-page"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self';"
    " connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'none'; frame-ancestors 'none';"
    " base-uri 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def make_app(door: Door, access: Access, page: PageFiles | None = None) -> Starlette:
    """Everything the server answers."""
    under_way = UnderWay()
    routes = [
        *OpenAi(door, under_way).routes,
        *Api(door, under_way).routes,
        Route("/open", Opening(access).open, methods=["GET"]),
        *(page or PageFiles()).routes,
    ]
    handlers = {Refused: _refused, RpcError: _failed, HTTPException: _no_route, ClientDisconnect: _gone}
    app = Starlette(routes=routes, middleware=[Middleware(Guard, access=access)], exception_handlers=handlers)
    app.router.redirect_slashes = False  # no answer is made of an address that a client wrote
    return app


class Guard:
    """Answers for requests that may not come in; puts the security headers on every response."""

    def __init__(self, app: ASGIApp, access: Access):
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check(scope)
        except Refused as refused:
            await error_answer(scope, refused)(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _check(self, scope: Scope) -> None:
        """Refused, or the caller is noted in the scope."""
        headers, is_private = Headers(scope=scope), scope["path"].startswith(PRIVATE)
        navigates = not is_private and headers.get("sec-fetch-mode") == "navigate"
        if foreign := self._access.foreign(headers, navigates):
            raise Refused(foreign.status, foreign.kind, foreign.message)
        if is_private:
            caller = self._access.caller(headers, _page_key(scope, headers))
            if caller is None:
                raise Refused(
                    401, "invalid_api_key", "send the token as Authorization: Bearer, or open the page's link"
                )
            scope.setdefault("state", {})["caller"] = caller


class Opening:
    """GET /open: the link that lets a browser in, once."""

    def __init__(self, access: Access):
        self._access = access

    async def open(self, request: Request) -> Response:
        """A browser that only fetches ahead, and HEAD, use nothing up."""
        if request.method != "GET" or "prefetch" in request.headers.get("sec-purpose", ""):
            return PlainTextResponse("", 204)
        if not self._access.use_link_key(request.query_params.get("key", "")):
            return PlainTextResponse("This link has been used, or is not right. `idletune web` gives another.\n", 403)
        location = f"/#key={self._access.page_key}"  # browsers send what is behind the # nowhere
        return Response(status_code=303, headers={"location": location, "set-cookie": self._access.set_cookie()})


def _page_key(scope: Scope, headers: Headers) -> str:
    """The page's key: a header, or where a browser lets it set none (EventSource), in the address."""
    return headers.get(PAGE_KEY) or QueryParams(scope["query_string"]).get("page", "")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error_answer(request.scope, error)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RpcError)
    return error_answer(request.scope, Refused.of(error))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return error_answer(request.scope, Refused(error.status_code, kind, error.detail))


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody reads it."""
    return Response(status_code=400)
