"""Bytes to requests and back, as JSON-RPC 2.0 says; sizes and nesting are bounded before anything is parsed."""

import json
import re
from dataclasses import dataclass
from math import isfinite
from typing import Any, NoReturn

from .errors import INVALID_REQUEST, PARSE_ERROR, TOO_LARGE, RpcError

LARGEST_REQUEST = 1 << 20  # bytes
LONGEST_BATCH = 64
DEEPEST = 32  # arrays and objects inside of each other
# A string, an unfinished one up to the end (so that the scan is linear), or a bracket.
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.S)


Id = str | int | float | None


@dataclass(frozen=True)
class Request:
    """One request; `answered` is False for a notification."""

    method: str
    params: object
    id: Id
    answered: bool


def read(data: bytes, largest: int = LARGEST_REQUEST) -> Any:
    """The JSON value that the bytes spell. RpcError: parse_error or too_large."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise RpcError(PARSE_ERROR, f"a request is bytes, not {type(data).__name__}")
    data = bytes(data)
    if len(data) > largest:
        raise RpcError(TOO_LARGE, f"the request has {len(data)} bytes; {largest} are the limit")
    if _depth(data) > DEEPEST:
        raise RpcError(TOO_LARGE, f"the request is nested more than {DEEPEST} deep")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise RpcError(PARSE_ERROR, "the request is not JSON in UTF-8") from None


def request_of(value: Any) -> Request:
    """The request that a JSON value is; RpcError (invalid_request) otherwise."""
    if not isinstance(value, dict):
        raise RpcError(INVALID_REQUEST, "a request is a JSON object")
    if value.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'a request says "jsonrpc": "2.0"')
    if not isinstance(value.get("method"), str):
        raise RpcError(INVALID_REQUEST, "a request names its method in a string")
    if "params" in value and not isinstance(value["params"], (dict, list)):
        raise RpcError(INVALID_REQUEST, "params are an object")
    if not is_id(value.get("id")):
        raise RpcError(INVALID_REQUEST, "an id is a string, a number or null")
    return Request(value["method"], value.get("params", {}), value.get("id"), "id" in value)


def id_of(value: Any) -> Id:
    """The id to answer an invalid request with: its own where that can be told, else null."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if is_id(found) else None


def is_id(value: object) -> bool:
    """Whether JSON-RPC allows this value as an id: a string, a finite number or null."""
    if isinstance(value, float) and not isfinite(value):  # 1e999
        return False
    return value is None or isinstance(value, (str, int, float)) and not isinstance(value, bool)


def result(id: Id, value: object) -> dict:
    """A response with a result."""
    return {"jsonrpc": "2.0", "result": value, "id": id}


def failure(id: Id, error: RpcError) -> dict:
    """A response with an error."""
    return {"jsonrpc": "2.0", "error": error.to_dict(), "id": id}


def notification(method: str, params: dict) -> dict:
    """A message without an id, which nobody answers."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def write(value: object) -> bytes:
    """JSON in UTF-8, on one line. What JSON cannot say of numbers (NaN, infinity) becomes null."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:  # half a character in an id, say: escaped, as it came
        return json.dumps(value, separators=(",", ":")).encode("ascii")
    except ValueError:
        return write(_finite(value))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _depth(data: bytes) -> int:
    """The deepest nesting, strings left out."""
    if data.count(b"[") + data.count(b"{") <= DEEPEST:  # nearly always: nothing to look at
        return 0
    depth = deepest = 0
    for found in _STRING_OR_BRACKET.finditer(data):
        sign = found.group()
        if sign in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in b"]}":
            depth -= 1
    return deepest


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
