"""/api: the product's methods and their events."""

import json
import threading
from contextlib import suppress

import httpx
import pytest
from idletune.rpc.errors import ERRORS
from idletune.web.answers import STATUSES


def call(client, **body):
    return client.post("/api/rpc", json=body)


def test_methods_answer_as_on_the_socket(web):
    assert call(web.page(), method="version").json()["result"]["api"] == 2
    found = call(web.page(), method="chat", params={"text": "hello bread"}).json()["result"]
    assert found["tokens"] > 0 and found["completion"].startswith("chatcmpl-")
    assert call(web.page(), method="prompts").json()["result"]["prompts"][0]["question"] == "hello bread"


@pytest.mark.parametrize(
    "body, status, code",
    [
        ({}, 400, -32600),
        ({"method": 1}, 400, -32600),
        ({"method": "version", "id": 7}, 400, -32600),
        ({"method": "version", "more": 1}, 400, -32600),
        ({"method": "nothing"}, 404, -32601),
        ({"method": "chat"}, 400, -32602),
        ({"method": "chat", "params": []}, 400, -32602),
        ({"method": "chat", "params": {"text": "x" * 70_000}}, 413, -32006),
        ({"method": "chat", "params": {"text": " "}}, 400, -32001),
        ({"method": "forget", "params": {"id": 7}}, 400, -32001),
        ({"method": "close"}, 400, -32001),
        ({"method": "open", "params": {"model": "x", "home": "y"}}, 400, -32001),
    ],
)
def test_errors_have_their_status(web, body, status, code):
    answer = call(web.program, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["message"] and error["data"]["kind"] == ERRORS[code][0]


def test_every_error_of_a_method_has_a_status():
    assert STATUSES.keys() == ERRORS.keys() and all(status >= 400 for status in STATUSES.values())


def test_what_is_not_open_yet_is_told(web):
    web.dispatcher.shared.close()
    answer = web.chat("hello")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert call(web.page(), method="status").json()["result"] == {"open": False}


class Events:
    """Reads the events of a client in a thread."""

    def __init__(self, client: httpx.Client):
        self.found, self._changed, self._begun = [], threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._read, args=(client,), daemon=True)
        self._thread.start()
        assert self._begun.wait(60)

    def _read(self, client):
        with suppress(httpx.HTTPError), client.stream("GET", "/api/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            name = ""
            for line in response.iter_lines():
                self._begun.set()
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    with self._changed:
                        self.found.append((name, json.loads(line.removeprefix("data: "))))
                        self._changed.notify_all()

    def wait_for(self, name: str) -> dict:
        """The parameters of the first event of this name."""
        with self._changed:
            told = self._changed.wait_for(lambda: [found for found in self.found if found[0] == name], 60)
        assert told, f"no {name} came, only {self.found}"
        return told[0][1]

    def ended(self) -> bool:
        self._thread.join(60)
        return not self._thread.is_alive()


def test_the_page_is_told_of_every_question(web):
    first, second = Events(web.page()), Events(web.page())
    web.chat("my door code is 4711")
    for events in (first, second):
        assert events.wait_for("event.prompt")["prompt"]["question"] == "my door code is 4711"
    prompt = first.wait_for("event.prompt")["prompt"]
    web.rpc("answer", prompt_id=prompt["id"], shown=prompt["shown"], verdict="dismiss")
    assert second.wait_for("event.prompt_dismissed") == {"prompt_id": prompt["id"]}


def test_a_question_nobody_is_told_costs_no_place_in_the_daily_limit(web):
    web.chat("my door code is 4711")
    assert web.rpc("status")["runtime"]["prompts"] == {"waiting": 1, "asked_today": 0}


def test_a_streamed_chat_comes_as_events(web):
    page = web.page()
    events = Events(web.page())
    told = call(page, method="chat", params={"text": "hello bread", "stream": True}, id="mine").json()["result"]
    assert events.wait_for("event.chat_text")["request_id"] == "mine"
    texts = [params["text"] for name, params in events.found if name == "event.chat_text"]
    assert told["text"].startswith(texts[0].strip())


def test_events_end_with_the_server(web):
    events = Events(web.page())
    web.server.stop()
    assert events.ended()


def test_there_are_so_many_streams_and_no_more(web):
    page = web.page()
    opened = [Events(web.page()) for _ in range(8)]
    assert page.get("/api/events").status_code == 429
    assert len(opened) == 8 and call(page, method="version").status_code == 200


def test_programs_and_page_are_two_callers(web):
    call(web.page(), method="chat", params={"text": "my door code is 4711"})
    first = call(web.program, method="chat", params={"text": "my door code is 4711"}).json()["result"]
    again = call(web.program, method="chat", params={"text": "what is it?"}).json()["result"]
    assert again["prompt_tokens"] > first["prompt_tokens"], "one program's conversation goes on"
    origins = [kept.origin for kept in web.dispatcher.shared.opened().buffer.sets()]
    assert origins[:2] == ["web page", "HTTP client"]
