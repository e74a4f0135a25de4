"""Malformed HTTP requests, from single wrong bytes to bodies of the wrong shape."""

import json
import random
from collections.abc import Iterator

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/feedback",
    "/v1/models",
    "/v1/models/x",
    "/api/rpc",
    "/api/events",
    "/open",
    "/",
    "/x",
)
POST_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/feedback", "/api/rpc")
ODD_PATHS = ("*", "//", "/../../etc/passwd", "/%2e%2e/%00", "http://evil.example/", "/assets/%ff", "?")
ODD_CHUNKS = (
    b"5\r\n{}\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"fffffffff\r\n{",
)  # fmt: skip
ODD_HEADERS = (
    "Host: evil.example", "Origin: http://evil.example", "Transfer-Encoding: x", "Content-Length: -1", ": x",
    "X: " + "y" * 20_000, "Expect: 100-continue", "Upgrade: websocket", "Connection: upgrade", "Cookie: \xff=;;",
    "Content-Type: text/plain", "Authorization: Bearer", "Content-Encoding: gzip", "Sec-Fetch-Site: x",
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "CONNECT", "get", "")
WELL_FORMED = (
    {"messages": [{"role": "system", "content": "short"}, {"role": "user", "content": "hello"}], "max_tokens": 1,
     "temperature": 0.5, "stop": ["x"], "stream": True, "seed": 1, "stream_options": {"include_usage": True}},
    {"method": "answer", "params": {"prompt_id": 1, "shown": "x", "verdict": "accept"}},
    {"method": "sets", "params": {"search": "bread", "limit": 3}},
    {"completion_id": "chatcmpl-x", "rating": "up"},
    {"prompt": "hello", "max_tokens": 1, "stop": "x", "stream": False, "n": 1, "echo": False},
    {"input": ["hello", "bread"], "encoding_format": "base64"},
)  # fmt: skip
ODD = (
    None,
    True,
    -1,
    0,
    1e308,
    2**70,
    "",
    "\ud83d",
    "\0",
    "x" * 300,
    [],
    [[]],
    {},
    {"role": "user"},
    float("nan"),
    "<b>",
)


def request_bytes(web, method: str, path: str, body: bytes = b"", length: int | None = None) -> bytes:
    """A well-formed request with the token; `length` is what it says its body has."""
    return _request(method, path, web.server.port, web.token, body, length)


def malformed_requests(rng: random.Random, token: str, port: int, count: int) -> Iterator[bytes]:
    """Requests of which most are wrong somewhere. None waits for the server to read more than is sent."""
    kinds = (_wrong_value, _wrong_bytes, _wrong_json, _wrong_headers, _wrong_chunks, _noise, _wrong_method)
    for _ in range(count):
        yield rng.choice(kinds)(rng, token, port)


def _request(method, path, port, token, body=b"", length=None, headers=()) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def _mutated(rng: random.Random, value):
    """The value with one part of it replaced, removed or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(list(value))
        changed = {**value, name: _mutated(rng, value[name])}
        if rng.random() < 0.2:
            del changed[name]
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], _mutated(rng, value[place]), *value[place:]]
    return rng.choice(ODD)


def _wrong_value(rng, token, port):
    body = json.dumps(_mutated(rng, rng.choice(WELL_FORMED))).encode()
    return _request("POST", rng.choice(POST_PATHS), port, token, body)


def _wrong_json(rng, token, port):
    body = bytearray(json.dumps(rng.choice(WELL_FORMED)).encode())
    for _ in range(rng.randint(1, 5)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return _request("POST", rng.choice(POST_PATHS), port, token, bytes(body[: rng.randint(0, len(body))]))


def _wrong_bytes(rng, token, port):
    data = bytearray(_request("POST", rng.choice(PATHS), port, token, json.dumps(rng.choice(WELL_FORMED)).encode()))
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randint(1, len(data))])


def _wrong_headers(rng, token, port):
    body = json.dumps(rng.choice(WELL_FORMED)).encode()
    return _request(
        "POST", rng.choice(PATHS), port, token, body, rng.choice((None, 0, 10**30)), rng.sample(ODD_HEADERS, 2)
    )


def _wrong_chunks(rng, token, port):
    head = _request("POST", rng.choice(POST_PATHS), port, token)
    return head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + rng.choice(ODD_CHUNKS)


def _noise(rng, token, port):
    return rng.randbytes(rng.randint(1, 2000)) + rng.choice((b"", b"\r\n\r\n"))


def _wrong_method(rng, token, port):
    path = rng.choice(
        (*PATHS, "*", "//", "/../../etc/passwd", "/%2e%2e/%00", "http://evil.example/", "/assets/%ff", "?")
    )
    return _request(rng.choice(METHODS), path, port, token)
