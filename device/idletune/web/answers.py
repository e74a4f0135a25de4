"""Answers in JSON, and the statuses of errors."""

from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from ..rpc import messages
from ..rpc.errors import (
    BUSY,
    CANCELLED,
    DAMAGED_DATA,
    ERRORS,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_OPEN,
    PARSE_ERROR,
    STORAGE,
    TOO_LARGE,
    WRONG_USE,
    RpcError,
)

STATUSES = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    METHOD_NOT_FOUND: 404,
    INVALID_PARAMS: 400,
    INTERNAL_ERROR: 500,
    WRONG_USE: 400,
    DAMAGED_DATA: 422,
    NOT_OPEN: 503,
    BUSY: 429,
    CANCELLED: 409,
    TOO_LARGE: 413,
    STORAGE: 507,
}
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Refused(Exception):
    """A request that is answered with an error: HTTP status, a stable kind, a message; `param` is what is wrong."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None, code: int | None = None):
        super().__init__(message)
        self.status, self.kind, self.param, self.code = status, kind, param, code or status

    @classmethod
    def of(cls, error: RpcError) -> "Refused":
        """The same for a failed method; `code` is the method's."""
        return cls(STATUSES[error.code], ERRORS[error.code][0], str(error), code=error.code)


class Json(Response):
    """JSON as the dispatcher writes it: UTF-8, no NaN."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return messages.write(content)


def error_answer(scope: Scope, refused: Refused) -> Response:
    """The error in the form that the path's clients know: OpenAI's under /v1/, ours elsewhere."""
    is_openai = scope["path"].startswith("/v1/")
    headers = {"connection": "close"} if refused.status in (408, 413) else {}  # the body may not have been read
    if refused.status in (429, 503):
        headers["retry-after"] = "1"
    return Json({"error": openai_error(refused) if is_openai else own_error(refused)}, refused.status, headers)


def openai_error(refused: Refused) -> dict:
    """As OpenAI's API has it: message, type, param, code."""
    fallback = "server_error" if refused.status >= 500 else "invalid_request_error"
    kind = OPENAI_TYPES.get(refused.status, fallback)
    return {"message": str(refused)[:1000], "type": kind, "param": refused.param, "code": refused.kind}


def own_error(refused: Refused) -> dict:
    """As JSON-RPC has it: code, message, and the code's name."""
    return {"code": refused.code, "message": str(refused)[:1000], "data": {"kind": refused.kind}}


def sse(data: object, event: str = "") -> bytes:
    """One server-sent event."""
    named = f"event: {event}\n" if event else ""
    return f"{named}data: ".encode() + messages.write(data) + b"\n\n"
