"""The HTTP server over the tiny model, in a thread of the test."""

import json
import threading
from contextlib import ExitStack
from dataclasses import replace

import httpx
from idletune.rpc import Dispatcher
from idletune.runtime import Runtime
from idletune.web.doors import Door
from idletune.web.server import WebServer
from idletune.web.token_file import read_or_make_token
from loop import SETTINGS


class Web:
    """A running server, and clients for it."""

    def __init__(self, home, model):
        self.dispatcher = Dispatcher()
        self.dispatcher.host.subscribed = False  # as in the command
        self.dispatcher.shared.open(lambda: Runtime(home, model, replace(SETTINGS, temperature=0.0), sequences=2))
        self.token, self.door = read_or_make_token(home), Door(self.dispatcher)
        self.server = WebServer(self.door, self.token)
        self.url, self._closing = self.server.url, ExitStack()
        self.program = self.client(authorization=f"Bearer {self.token}")
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()

    def client(self, **headers) -> httpx.Client:
        return self._closing.enter_context(httpx.Client(base_url=self.url, headers=headers, timeout=300))

    def page(self) -> httpx.Client:
        """A browser that opened the link."""
        client = self.client()
        opened = client.get(self.server.new_link())
        assert opened.status_code == 303
        client.headers["x-idletune-page"] = opened.headers["location"].removeprefix("/#key=")
        return client

    def rpc(self, method, **params):
        """The result of a method."""
        answer = self.program.post("/api/rpc", json={"method": method, "params": params})
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def chat(self, *texts, client=None, **asked):
        """The answer to a conversation of user and assistant in turns."""
        messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
        return (client or self.program).post("/v1/chat/completions", json={"messages": messages, **asked})

    def seen(self) -> int:
        """How many exchanges were ever offered to the buffer."""
        return self.rpc("status")["runtime"]["buffer"]["seen"]

    def close(self):
        self._closing.close()
        self.server.stop()
        self._thread.join(60)
        self.server.close()
        self.dispatcher.close()
        assert not self._thread.is_alive(), "the server did not end"


def sse(text: str) -> list:
    """The data of server-sent events, [DONE] as it is."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [part if part == "[DONE]" else json.loads(part) for part in data]
