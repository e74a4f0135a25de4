"""The error codes that cross the bridge; they are stable, the texts are not."""

from ..errors import DamagedDataError, IdleTuneError, StorageError

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
WRONG_USE, DAMAGED_DATA, NOT_OPEN, BUSY, CANCELLED, TOO_LARGE, STORAGE = range(-32001, -32008, -1)

LONGEST_MESSAGE = 1000  # characters; a message may quote what was sent

# code: (kind, what it means); the reference page and rpc.discover list these.
ERRORS = {
    PARSE_ERROR: ("parse_error", "the request is not JSON in UTF-8"),
    INVALID_REQUEST: ("invalid_request", "the JSON is not a JSON-RPC 2.0 request"),
    METHOD_NOT_FOUND: ("method_not_found", "there is no such method"),
    INVALID_PARAMS: ("invalid_params", "a parameter is missing, unknown, of another type or out of its range"),
    INTERNAL_ERROR: ("internal_error", "a fault of ours; nothing that was kept is lost"),
    WRONG_USE: ("wrong_use", "wrong use or input; the message names the next step"),
    DAMAGED_DATA: ("damaged_data", "a file or the state cannot be trusted; the message names the next step"),
    NOT_OPEN: ("not_open", "no runtime is open; call open first"),
    BUSY: ("busy", "the model is in use and this call does not wait; try again later"),
    CANCELLED: ("cancelled", "the call was cancelled; it has changed nothing"),
    TOO_LARGE: ("too_large", "the request, a text or the nesting is over its limit"),
    STORAGE: (
        "storage",
        "the state cannot be read or written now (a full disk, a lock that is held); the message names"
        " the next step, then call again",
    ),
}
# By exception, a subclass before its base.
_CODES = ((DamagedDataError, DAMAGED_DATA), (StorageError, STORAGE), (IdleTuneError, WRONG_USE))


class RpcError(Exception):
    """A failed call: what goes into the response's `error`. `code` is one of ERRORS."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code

    def to_dict(self) -> dict:
        return {"code": self.code, "message": str(self)[:LONGEST_MESSAGE], "data": {"kind": ERRORS[self.code][0]}}


def of_exception(error: Exception) -> RpcError:
    """The code of whatever a call raised; an unknown one is ours and tells no more than its type."""
    if isinstance(error, RpcError):
        return error
    for kind, code in _CODES:
        if isinstance(error, kind):
            return RpcError(code, str(error))
    if isinstance(error, OSError):  # a name too long, a file in a folder's place, no rights
        where = error.filename or "this"
        return RpcError(WRONG_USE, f"the system refuses {where} ({error.strerror}); name another place")
    return RpcError(INTERNAL_ERROR, f"internal error ({type(error).__name__}); please report it")
