"""The examples of the JSON-RPC 2.0 specification, and what lies outside of it; nothing is open."""

import json

import pytest
from idletune.rpc import Dispatcher
from idletune.rpc.messages import LARGEST_REQUEST
from rpc_caller import check_response


@pytest.fixture
def dispatcher():
    dispatcher = Dispatcher()
    yield dispatcher
    dispatcher.close()


def answer(dispatcher, request):
    data = request if isinstance(request, bytes) else json.dumps(request).encode()
    return json.loads(dispatcher.handle(data) or "null")


def request(method="version", **more):
    return {"jsonrpc": "2.0", "method": method, **more}


@pytest.mark.parametrize("id", [1, 0, -5, "a", "", "ä😀", 1.5, None, 10**40])
def test_the_id_comes_back_as_it_was(dispatcher, id):
    response = answer(dispatcher, request(id=id))
    assert response["id"] == id and type(response["id"]) is type(id) and response["result"]["api"] == 2


@pytest.mark.parametrize(
    "data, code, id",
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b'"\xc0\x80"', -32700, None),
        (b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', -32700, None),
        (b'[{"jsonrpc": "2.0", "method": "sum", "params": [1], "id": "1"}, {"jsonrpc": "2.0", "method"', -32700, None),
        (b'{"jsonrpc": "2.0", "id": NaN, "method": "version"}', -32700, None),
        (b"\xef\xbb\xbf{}", -32700, None),
        (b"1", -32600, None),
        (b"null", -32600, None),
        (b"{}", -32600, None),
        (b"[]", -32600, None),
        (b'{"jsonrpc": "2.0", "method": 1, "params": "bar"}', -32600, None),
        (b'{"jsonrpc": "1.0", "method": "version", "id": 7}', -32600, 7),
        (b'{"jsonrpc": "2.0", "method": "version", "params": "bar", "id": 7}', -32600, 7),
        (b'{"jsonrpc": "2.0", "method": "version", "id": [7]}', -32600, None),
        (b'{"jsonrpc": "2.0", "method": "version", "id": true}', -32600, None),
        (b'{"jsonrpc": "2.0", "method": "version", "id": 1e999}', -32600, None),
        (b'{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', -32601, "1"),
        (b'{"jsonrpc": "2.0", "method": "version", "params": [], "id": 1}', -32602, 1),
        (b'{"jsonrpc": "2.0", "method": "version", "params": {"x": 1}, "id": 1}', -32602, 1),
        (b'{"jsonrpc": "2.0", "method": "status", "id": 1, "params": ' + b"[" * 40 + b"]" * 40 + b"}", -32006, None),
        (b"[" * 500_000, -32006, None),
        (b" " * (LARGEST_REQUEST + 1), -32006, None),
        (b'{"jsonrpc": "2.0", "method": "prompts", "id": 1}', -32003, 1),
    ],
)
def test_what_is_wrong_has_its_code(dispatcher, data, code, id):
    response = answer(dispatcher, data)
    check_response(response)
    assert (response["error"]["code"], response["id"]) == (code, id)


@pytest.mark.parametrize("given", [None, "text", 5, bytearray(b"{}"), memoryview(b"{}")])
def test_what_is_no_bytes_is_answered_too(dispatcher, given):
    assert json.loads(dispatcher.handle(given))["error"]["code"] in (-32700, -32600)


def test_brackets_within_texts_are_not_nesting(dispatcher):
    response = answer(dispatcher, request("chat", id=1, params={"text": '["\\[{' * 1000}))
    assert response["error"]["code"] == -32003


def test_a_text_of_escaped_quotes_is_scanned_once(dispatcher):
    # Were each of the quotes a new beginning, this would take minutes.
    assert answer(dispatcher, b'"' + b'\\"' * 400_000 + b"[" * 40)["error"]["code"] == -32700


def test_notifications_are_not_answered_even_if_they_fail(dispatcher):
    for method in ("version", "foobar", "chat", "rpc.discover"):
        assert dispatcher.handle(json.dumps(request(method)).encode()) == b""
    assert dispatcher.handle(json.dumps([request(), request("foobar")]).encode()) == b""


def test_a_batch_is_answered_in_order_without_its_notifications(dispatcher):
    batch = [request(id=1), request(), {"foo": "boo"}, request("foobar", id="5"), 1, request("status", id=9)]
    responses = answer(dispatcher, batch)
    assert [response["id"] for response in responses] == [1, None, "5", None, 9]
    assert [response.get("error", {}).get("code") for response in responses] == [None, -32600, -32601, -32600, None]


def test_a_batch_is_bounded(dispatcher):
    assert len(answer(dispatcher, [request(id=i) for i in range(64)])) == 64
    assert answer(dispatcher, [request(id=i) for i in range(65)])["error"]["code"] == -32006


def test_half_a_character_in_an_id_comes_back_escaped(dispatcher):
    assert b'"id":"\\ud83d"' in dispatcher.handle(b'{"jsonrpc": "2.0", "method": "version", "id": "\\ud83d"}')


def test_after_close_everything_is_answered_not_open(dispatcher, tmp_path):
    dispatcher.close()
    dispatcher.close()
    params = {"model": str(tmp_path / "none.gguf"), "home": str(tmp_path / "home")}
    assert answer(dispatcher, request("open", id=1, params=params))["error"]["code"] == -32003
    assert answer(dispatcher, request("chat", id=1, params={"text": "x"}))["error"]["code"] == -32003
    assert answer(dispatcher, request("close", id=1))["result"] == {"closed": False}
    assert dispatcher.next_event(60) == b""
