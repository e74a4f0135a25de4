"""What one client may cost: sizes, times, connections; and what happens to malformed requests."""

import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from idletune.rpc import messages
from idletune.web import limits, protocol
from malformed import malformed_requests, request_bytes
from rpc_caller import hold_chats

LONG = {"stream": True, "max_tokens": 400, "temperature": 0}


def connect(web) -> socket.socket:
    connection = socket.create_connection((web.server.address, web.server.port), timeout=60)
    return connection


def status_of(connection: socket.socket) -> int:
    """The status of the next response; 0 where the server hung up, be it after the rest of one before."""
    head = b""
    try:
        while b"\r\n\r\n" not in head and (part := connection.recv(4096)):
            head += part
    except ConnectionError:
        return 0
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/rpc", "/v1/feedback"])
def test_a_body_too_large_is_refused(web, path):
    declared = connect(web)
    declared.sendall(request_bytes(web, "POST", path, b"{", length=2**40))
    assert status_of(declared) == 413

    def parts():
        for _ in range(40):
            yield b" " * 65_536

    try:
        assert web.program.post(path, content=parts(), headers=JSON).status_code == 413
    except httpx.NetworkError:  # the server hung up while the client went on
        pass
    assert web.chat("hello").status_code == 200


JSON = {"content-type": "application/json"}


def test_what_is_no_json_is_refused(web):
    def post(data, kind="application/json"):
        return web.program.post("/v1/chat/completions", content=data, headers={"content-type": kind}).status_code

    assert post(b"{") == post(b"\xff\xfe") == post(b"[1]") == post(b'{"messages": NaN}') == 400
    assert post(b"[" * 10_000) == 413
    assert post(b"{}", "text/plain") == post(b"{}", "application/x-www-form-urlencoded") == 415


def test_a_body_that_does_not_come_is_not_waited_for(web, monkeypatch):
    monkeypatch.setattr(limits.read_body, "__defaults__", (0.2,))
    connection = connect(web)
    connection.sendall(request_bytes(web, "POST", "/api/rpc", b'{"method"', length=100))
    assert status_of(connection) == 408


def test_a_connection_that_asks_nothing_is_dropped(web, monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 3600)
    kept = connect(web)
    kept.sendall(request_bytes(web, "GET", "/v1/models"))
    assert kept.recv(12) == b"HTTP/1.1 200"
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    silent, slow = connect(web), connect(web)
    kept.sendall(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.")
    with suppress(OSError):  # it may be dropped before
        slow.sendall(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.")
    assert silent.recv(1) == b"" and status_of(slow) == 0
    while kept.recv(4096):  # the rest of the first answer, then the end
        pass


def test_idle_connections_lock_nobody_out(web, monkeypatch):
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 4)
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 3600)
    silent = [connect(web) for _ in range(2)]
    used = [connect(web) for _ in range(2)]
    for connection in used:
        connection.sendall(request_bytes(web, "GET", "/v1/models"))
        assert status_of(connection) == 200
    for oldest in (*silent, used[0]):
        further = connect(web)
        further.sendall(request_bytes(web, "GET", "/v1/models"))
        assert status_of(further) == 200 and status_of(oldest) == 0, "it should have made room"
        used.append(further)


def test_so_many_connections_at_work_and_no_more(web, monkeypatch):
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 3)
    working = [connect(web) for _ in range(3)]
    for connection in working:
        connection.sendall(request_bytes(web, "GET", "/api/events"))
        assert status_of(connection) == 200
    assert status_of(connect(web)) == 0
    working.pop().close()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        further = connect(web)
        try:
            further.sendall(request_bytes(web, "GET", "/v1/models"))
        except OSError:
            continue
        if status_of(further) == 200:
            return
    pytest.fail("a place that became free was not given away")


def test_a_reader_that_takes_nothing_holds_up_nobody_and_is_dropped(web, monkeypatch):
    monkeypatch.setattr(protocol.PatientProtocol, "unread_seconds", 0.3)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    deaf.connect((web.server.address, web.server.port))
    deaf.sendall(request_bytes(web, "GET", "/api/events"))
    assert deaf.recv(12) == b"HTTP/1.1 200"
    broadcasts, end = web.door.broadcasts.values(), time.monotonic() + 60
    while not any(each.streams for each in broadcasts):  # the head is sent before the stream is opened
        assert time.monotonic() < end
    while any(each.streams for each in broadcasts):  # until all buffers on the way are full, and a while longer
        assert time.monotonic() < end, "it still has its place"
        for each in broadcasts:
            each.put("event.adapter", None, reason="x" * 1_000_000)
        assert web.chat("hello", max_tokens=1).status_code == 200
    deaf.close()


def test_what_a_client_that_hung_up_had_asked_for_is_stopped(web, monkeypatch):
    hold_chats(monkeypatch)
    for stream in (True, False):
        connection = connect(web)
        body = b'{"messages": [{"role": "user", "content": "hello bread"}], "stream": %s, "max_tokens": 500}'
        body %= b"true" if stream else b"false"
        connection.sendall(request_bytes(web, "POST", "/v1/chat/completions", body))
        if stream:
            assert status_of(connection) == 200
        connection.close()
    assert web.chat("and butter", max_tokens=2).status_code == 200  # waits for the model
    assert web.seen() == 1


def test_a_program_that_floods_is_told_to_wait(web):
    def ask(_):
        return web.client(authorization=f"Bearer {web.token}").post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}], "max_tokens": 60}
        )

    page = web.page()
    with ThreadPoolExecutor(12) as pool:
        flood = [pool.submit(ask, i) for i in range(12)]
        assert page.post("/api/rpc", json={"method": "version"}).status_code == 200
        answers = [each.result() for each in flood]
    assert {answer.status_code for answer in answers} <= {200, 429} and any(a.status_code == 200 for a in answers)
    assert all(a.json()["error"]["type"] == "rate_limit_error" for a in answers if a.status_code == 429)


@pytest.mark.slow
def test_malformed_requests_get_an_answer_that_is_theirs(web, caplog, monkeypatch):
    """A sample; benchmarks/http_malformed.py sends 30,000."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.1)  # of some requests the server waits for the rest
    monkeypatch.setattr(limits.read_body, "__defaults__", (0.1,))
    rng, statuses = random.Random(0), []
    for data in malformed_requests(rng, web.token, web.server.port, 200):
        with connect(web) as connection:
            with suppress(OSError):
                connection.sendall(data)
            statuses.append(status_of(connection))
    assert max(statuses) < 500 and len(set(statuses)) > 5 and not caplog.records
    assert web.chat("hello", max_tokens=1).status_code == 200


def test_the_largest_request_is_that_of_the_socket():
    assert limits.LARGEST_BODY == messages.LARGEST_REQUEST
