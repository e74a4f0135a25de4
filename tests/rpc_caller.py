"""Calls to a dispatcher as a host app makes them, every answer held against the methods' declarations."""

import itertools
import json
import threading
import time
from contextlib import contextmanager

from idletune.rpc.errors import ERRORS
from idletune.rpc.methods import METHODS, learning
from idletune.rpc.shared_runtime import SharedRuntime
from idletune.settings import Settings
from loop import SETTINGS

# What makes the tiny model learn at any hour, on any device that says it is plugged in.
CHANGED = {
    **{name: value for name, value in vars(SETTINGS).items() if value != getattr(Settings(), name)},
    "window_from": 0,
    "window_until": 0,
    "memory_mb": 100,
    "window_reserve_mb": 0,
    "window_disk_mb": 0,
    "slice_rest_minutes": 0,
    "state_source": "host",
    "slices_a_day": 1000,
}
ENDLESS = {"epochs": 10_000}  # training that lasts as long as a test wants
CHARGING = {"plugged": True, "percentage": 90, "temperature_c": 25}


class Failed(Exception):
    """An error response; `code` is its code."""

    def __init__(self, error: dict):
        super().__init__(error["message"])
        self.code = error["code"]


class Caller:
    def __init__(self, handle):
        self.handle, self.count = handle, 0

    def __call__(self, name: str, /, **params) -> dict:
        """The result, with exactly the declared fields; Failed for an error."""
        self.count += 1
        request = {"jsonrpc": "2.0", "id": self.count, "method": name, "params": params}
        response = json.loads(self.handle(json.dumps(request).encode()))
        check_response(response)
        assert response["id"] == request["id"]
        if "error" in response:
            raise Failed(response["error"])
        check_result(name, response["result"])
        return response["result"]


def check_response(response: dict) -> None:
    """That it is a JSON-RPC 2.0 response of ours."""
    assert response["jsonrpc"] == "2.0" and "id" in response and ("result" in response) != ("error" in response)
    if "error" in response:
        error = response["error"]
        assert error["data"]["kind"] == ERRORS[error["code"]][0] and 0 < len(error["message"]) <= 1000


def check_result(name: str, result: dict) -> None:
    declared = {field.name: field for field in METHODS[name].result}
    assert {field.name for field in declared.values() if field.required} <= result.keys() <= declared.keys()
    for field, value in result.items():
        declared[field].check(value)


def in_thread(work):
    """Run it beside; the returned function waits for its result, or for what it raised."""
    outcome = {}

    def run():
        try:
            outcome["result"] = work()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()

    def result(seconds=300):
        thread.join(seconds)
        assert not thread.is_alive(), "it did not end"
        if "error" in outcome:
            raise outcome["error"]
        return outcome["result"]

    result.running = thread.is_alive
    return result


HELD_LOOK = 8  # by then a chat has told a piece of its reply
MOST_HELD_SECONDS = 300


def hold_chats(monkeypatch) -> threading.Event:
    """From now on a chat of several tokens goes on until it is cancelled, or until the event that this gives is set."""
    chatting, go_on = SharedRuntime.chatting, threading.Event()

    @contextmanager
    def held(self, client=None):
        with chatting(self, client) as (runtime, should_stop):
            looks = itertools.count()

            def stop():
                if next(looks) >= HELD_LOOK:
                    wait_until(lambda: should_stop() or go_on.is_set())
                return should_stop()

            yield runtime, stop

    monkeypatch.setattr(SharedRuntime, "chatting", held)
    return go_on


def hold_training(monkeypatch) -> None:
    """From now on a slice that has come to training goes on until it is asked to stop."""
    progress_events, why_stop, training = learning.progress_events, SharedRuntime._why_stop, threading.Event()

    def noted(call):
        bars = progress_events(call)

        @contextmanager
        def bar_of(label, total):
            with bars(label, total) as bar:
                yield lambda done, note="": (bar(done, note), label == "training" and done and training.set())

        return bar_of

    def held(self, work):
        if training.is_set():
            wait_until(lambda: why_stop(self, work))
        return why_stop(self, work)

    monkeypatch.setattr(learning, "progress_events", noted)
    monkeypatch.setattr(SharedRuntime, "_why_stop", held)


def wait_until(condition) -> None:
    end = time.monotonic() + MOST_HELD_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)


def events_until(next_event, name: str, seconds=300) -> list[dict]:
    """Events up to the first of this name."""
    found = []
    while not found or found[-1]["method"] != name:
        event = next_event(seconds)
        assert event, f"no {name} came, only {[e['method'] for e in found]}"
        found.append(json.loads(event))
    return found
